"""URL patterns and the list of URLs, and a URL map that remembers its matches."""

from __future__ import annotations

import re
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from uuid import UUID

from werkzeug.routing import BaseConverter, Map, MapAdapter
from werkzeug.routing.converters import DEFAULT_CONVERTERS

from inference import LABEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TypeAlias

    from _typeshed.wsgi import WSGIEnvironment
    from werkzeug.routing import Rule, RuleFactory

    Key: TypeAlias = tuple[str, ...]
    Match: TypeAlias = tuple[Rule, Mapping[str, Any]]

ADMIN = "/v1/admin"
AUTOMATIC_METHODS = frozenset({"HEAD", "OPTIONS"})

REMEMBERED = 1024
LONGEST = 512
IMMUTABLE = (str, int, float, UUID, type(None))

_PLACEHOLDER = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")

_looked_at = itemgetter(
    "REQUEST_METHOD",
    "PATH_INFO",
    "HTTP_HOST",
    "SCRIPT_NAME",
    "QUERY_STRING",
    "wsgi.url_scheme",
    "SERVER_NAME",
    "SERVER_PORT",
)


def key_of(environ: WSGIEnvironment) -> Key | None:
    """All that binding and matching look at, where that is no more than usual."""
    try:
        key: Key = _looked_at(environ)
    except KeyError:
        return None

    return None if "HTTP_UPGRADE" in environ else key


class RememberingMap(Map):
    """A URL map that keeps the adapters of requests that matched a rule.

    To bind and match again took 50 µs of each request. Errors and redirects are never
    remembered, nor what a converter of one's own gave, which might look things up: one
    that doesn't says so by `repeatable = True`. At most `REMEMBERED` adapters are held,
    then it starts anew.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._adapters: dict[Key | None, RememberedAdapter] = {}
        super().__init__(*args, **kwargs)

    def add(self, rulefactory: RuleFactory) -> None:
        super().add(rulefactory)
        self._adapters.clear()

    def recall(self, environ: WSGIEnvironment) -> RememberedAdapter | None:
        """The adapter of an earlier request that was alike in all that matters."""
        return self._adapters.get(key_of(environ))

    def attend(self, adapter: MapAdapter, environ: WSGIEnvironment) -> MapAdapter:
        """An adapter like the one bound to `environ`; kept when it has matched."""
        key = key_of(environ)
        # A redirect has the query in it, and long keys would fill the memory.
        if key is None or environ["QUERY_STRING"] or sum(map(len, key)) > LONGEST:
            return adapter

        if not self._repeatable:
            return adapter

        return RememberedAdapter(adapter, lambda matched: self._keep(key, matched))

    @property
    def _repeatable(self) -> bool:
        known = DEFAULT_CONVERTERS.values()
        return all(
            converter in known or getattr(converter, "repeatable", False)
            for converter in self.converters.values()
        )

    def _keep(self, key: Key, adapter: RememberedAdapter) -> None:
        if len(self._adapters) >= REMEMBERED:
            self._adapters.clear()

        self._adapters[key] = adapter


class RememberedAdapter(MapAdapter):
    """A URL adapter that matches its own path once; shared by requests."""

    def __init__(
        self, bound: MapAdapter, on_match: Callable[[RememberedAdapter], None]
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
        """As `MapAdapter.match`; what Flask asks for is remembered."""
        if args or kwargs != {"return_rule": True}:
            return super().match(*args, **kwargs)

        rule, values = self._found or self._find()
        return rule, dict(values)

    def _find(self) -> Match:
        match: Match = super().match(return_rule=True)
        # A value that a view could change is made anew for each request.
        if all(isinstance(value, IMMUTABLE) for value in match[1].values()):
            self._found = match
            self._on_match(self)

        return match


class ModelNameConverter(BaseConverter):
    """A model's name. No colon and no slash, so that `:predict` is not part of it."""

    regex = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
    repeatable = True


class VersionConverter(BaseConverter):
    """A version: at most 19 digits, as many as a signed 64-bit integer has."""

    regex = r"[0-9]{1,19}"
    repeatable = True

    def to_python(self, value: str) -> int:
        return int(value)


class LabelConverter(BaseConverter):
    """A label of a version, as a sidecar or an operator may give it."""

    regex = LABEL.removeprefix("^").removesuffix("$")
    repeatable = True


def register_converters(url_map: Map) -> None:
    url_map.converters["model"] = ModelNameConverter
    url_map.converters["version"] = VersionConverter
    url_map.converters["label"] = LabelConverter


def list_urls(url_map: Map, *, admin: bool = False) -> list[str]:
    """`GET /v1/models/<name>`, ... in the order of the paths; `admin` those too."""
    rules = sorted(url_map.iter_rules(), key=lambda rule: rule.rule)
    shown = [rule for rule in rules if admin or not rule.rule.startswith(ADMIN)]
    return [line for rule in shown for line in _lines(rule)]


def _lines(rule: Rule) -> Iterator[str]:
    path = _PLACEHOLDER.sub(r"<\1>", rule.rule)
    for method in sorted((rule.methods or set()) - AUTOMATIC_METHODS):
        yield f"{method} {path}"
