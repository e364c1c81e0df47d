"""The parts of URLs, and the list of them for who asked for another."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from werkzeug.routing import BaseConverter

from inference import LABEL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from werkzeug.routing import Map, Rule

ADMIN = "/v1/admin"
AUTOMATIC_METHODS = frozenset({"HEAD", "OPTIONS"})

_PLACEHOLDER = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")


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
