"""Values that aren't to be written down, replaced in documents of both protocols."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

REDACTED = "[redacted]"

UNNAMED = ("instances", "inputs")
"""Keys of requests whose values may come without a name, if there is one input."""

SHOWN = frozenset({"name", "shape", "datatype"})
"""What is told of a tensor, in the Open Inference Protocol, whose values aren't."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """Which inputs' values are replaced; `unnamed` says if those without a name are."""

    names: frozenset[str] = frozenset()
    unnamed: bool = True

    def request(self, document: Any) -> Any:
        """Return a request's document without values of these inputs."""
        if not self.names:
            return document

        found = self._redacted(document)
        if not self.unnamed or not isinstance(found, dict):
            return found

        hidden = {key for key in UNNAMED if key in found and _is_unnamed(found[key])}
        return {k: REDACTED if k in hidden else v for k, v in found.items()}

    def response(self, document: Any) -> Any:
        """Return an answer's document without values of outputs of these names.

        And without the words of an error, which may quote a value.
        """
        if not self.names:
            return document

        found = self._redacted(document)
        if isinstance(found, dict) and "error" in found:
            return {**found, "error": REDACTED}

        return found

    def _redacted(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._redacted(each) for each in value]

        if not isinstance(value, dict):
            return value

        name = value.get("name")
        if isinstance(name, str) and name in self.names:
            return {k: v if k in SHOWN else REDACTED for k, v in value.items()}

        return {
            k: REDACTED if k in self.names else self._redacted(v)
            for k, v in value.items()
        }


def _is_unnamed(values: Any) -> bool:
    """Return whether these are values themselves, or some of them are."""
    if isinstance(values, list):
        return not values or any(map(_is_value, values))

    return _is_value(values)


def _is_value(row: Any) -> bool:
    # Bytes are written as an object, too.
    return not isinstance(row, dict) or row.keys() == {"b64"}
