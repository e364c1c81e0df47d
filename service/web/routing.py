"""URL converters, the list of URLs, and a URL map that caches its matches."""

from __future__ import annotations

import difflib
import functools
import re
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from uuid import UUID

from werkzeug.exceptions import BadRequest, NotFound
from werkzeug.routing import BaseConverter, Map, MapAdapter, Rule
from werkzeug.routing.converters import DEFAULT_CONVERTERS

from inference import LABEL
from service.codecs.tfserving.urls import MAX_VERSION, version_too_large

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TypeAlias

    from _typeshed.wsgi import WSGIEnvironment
    from werkzeug.routing import RuleFactory

    Key: TypeAlias = tuple[str, ...]
    Match: TypeAlias = tuple[Rule, Mapping[str, Any]]

ADMIN = "/v1/admin"
V2 = "/v2"
AUTOMATIC_METHODS = frozenset({"HEAD", "OPTIONS"})

MAX_ADAPTERS = 1024
MAX_KEY_CHARS = 512
IMMUTABLE = (str, int, float, UUID, type(None))

_PLACEHOLDER = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")

_CHOICE = re.compile(r"<any\(([^()]*)\):[^<>]+>")
_MODEL = re.compile(r"/v\d/models/([^/:]+)")

_read_key = itemgetter(
    "REQUEST_METHOD",
    "PATH_INFO",
    "HTTP_HOST",
    "SCRIPT_NAME",
    "QUERY_STRING",
    "wsgi.url_scheme",
    "SERVER_NAME",
    "SERVER_PORT",
)


def request_key(environ: WSGIEnvironment) -> Key | None:
    """Return all that binding and matching read, or `None` if they would read more."""
    try:
        key: Key = _read_key(environ)
    except KeyError:
        return None

    return None if "HTTP_UPGRADE" in environ else key


class LazyRule(Rule):
    """A rule that compiles its builders of URLs when it builds the first one.

    Few ever do, and to compile them took most of the time of making an application.
    """

    def _compile_builder(
        self, append_unknown: bool = True
    ) -> Callable[..., tuple[str, str]]:
        compiled = functools.cache(super()._compile_builder)

        def build(rule: Rule, /, **values: Any) -> tuple[str, str]:
            return compiled(append_unknown)(rule, **values)

        return build


class CachingMap(Map):
    """A URL map that caches the adapters of requests that matched a rule.

    Errors and redirects are never cached. Nothing is cached while the map has a custom
    converter without `cacheable = True`. The cache is cleared when it holds
    `MAX_ADAPTERS`.
    """

    # Binding and matching took 50 µs of each request.
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._adapters: dict[Key | None, CachedAdapter] = {}
        super().__init__(*args, **kwargs)

    def add(self, rulefactory: RuleFactory) -> None:
        super().add(rulefactory)
        self._adapters.clear()

    def lookup(self, environ: WSGIEnvironment) -> CachedAdapter | None:
        """Return the adapter of an earlier request with the same key."""
        return self._adapters.get(request_key(environ))

    def wrap(self, adapter: MapAdapter, environ: WSGIEnvironment) -> MapAdapter:
        """Return `adapter`, or an equal one that is cached once it has matched."""
        key = request_key(environ)
        # A redirect contains the query; long keys would fill the memory.
        if key is None or environ["QUERY_STRING"] or sum(map(len, key)) > MAX_KEY_CHARS:
            return adapter

        # Another converter might look things up, with a new result each time.
        if not self._cacheable:
            return adapter

        return CachedAdapter(adapter, lambda matched: self._keep(key, matched))

    @property
    def _cacheable(self) -> bool:
        known = DEFAULT_CONVERTERS.values()
        return all(
            converter in known or getattr(converter, "cacheable", False)
            for converter in self.converters.values()
        )

    def _keep(self, key: Key, adapter: CachedAdapter) -> None:
        if len(self._adapters) >= MAX_ADAPTERS:
            self._adapters.clear()

        self._adapters[key] = adapter


class CachedAdapter(MapAdapter):
    """A URL adapter that matches its path once and is shared by requests."""

    def __init__(
        self, bound: MapAdapter, on_match: Callable[[CachedAdapter], None]
    ) -> None:
        super().__init__(
            bound.map,
            bound.server_name,
            bound.script_name,
            bound.subdomain,
            bound.url_scheme,
            bound.path_info,
            bound.default_method,
            bound.query_args,
        )
        self._on_match = on_match
        self._found: Match | None = None

    def match(self, *args: Any, **kwargs: Any) -> Any:
        """Match as `MapAdapter` does; remember the match that Flask asks for."""
        if args or kwargs != {"return_rule": True}:
            return super().match(*args, **kwargs)

        rule, values = self._found or self._find()
        return rule, dict(values)

    def _find(self) -> Match:
        match: Match = super().match(return_rule=True)
        # A value that a view could change must be made anew for each request.
        if all(isinstance(value, IMMUTABLE) for value in match[1].values()):
            self._found = match
            self._on_match(self)

        return match


class ModelNameConverter(BaseConverter):
    """A model's name, without colons and slashes: `:predict` is not part of it."""

    regex = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
    cacheable = True


class VersionConverter(BaseConverter):
    """A version: a signed 64-bit integer in digits.

    A number with leading zeros raises `NotFound`, a larger one `BadRequest`.
    """

    regex = r"[0-9]{1,64}"
    cacheable = True

    def to_python(self, value: str) -> int:
        # One version has one URL, as its folder has one name.
        if value != "0" and value.startswith("0"):
            raise NotFound(
                f"there is no version {value}: versions are written without leading"
                f" zeros, {value.lstrip('0') or '0'}"
            )

        version = int(value)
        if version > MAX_VERSION:
            raise BadRequest(version_too_large(value))

        return version


class LabelConverter(BaseConverter):
    """A label of a version, as sidecars and operators may set."""

    regex = LABEL.removeprefix("^").removesuffix("$")
    cacheable = True


def register_converters(url_map: Map) -> None:
    url_map.converters["model"] = ModelNameConverter
    url_map.converters["version"] = VersionConverter
    url_map.converters["label"] = LabelConverter


def list_urls(url_map: Map, *, admin: bool = False) -> list[str]:
    """Return lines such as `GET /v1/models/<name>`, sorted by path.

    The admin calls are listed if `admin` is true.
    """
    rules = sorted(url_map.iter_rules(), key=lambda rule: rule.rule)
    shown = [rule for rule in rules if admin or not rule.rule.startswith(ADMIN)]
    return [line for rule in shown for line in _lines(rule)]


def nearest_url(path: str, lines: list[str]) -> str | None:
    """Return the nearest to a wrong `path` of `list_urls`' lines, if any is near.

    It has the model that the path names.
    """
    named = _MODEL.match(path)
    name = "<name>" if named is None else named[1]
    urls = {line.partition(" ")[2].replace("<name>", name): line for line in lines}
    # What stands behind a colon is short beside the rest, but means more.
    verbs = [url for url in urls if ":" in url]
    near = difflib.get_close_matches(path, verbs if ":" in path else urls, 1)
    return f"{urls[near[0]].partition(' ')[0]} {near[0]}" if near else None


def _lines(rule: Rule) -> Iterator[str]:
    choice = _CHOICE.search(rule.rule)
    for chosen in choice[1].split(", ") if choice else [""]:
        path = _PLACEHOLDER.sub(r"<\1>", _CHOICE.sub(chosen, rule.rule))
        for method in sorted((rule.methods or set()) - AUTOMATIC_METHODS):
            yield f"{method} {path}"
