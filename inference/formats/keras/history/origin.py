"""The origin of a Keras file, and a translation of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Config = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The version of Keras and the backend that wrote a file.

    `backend` is `None` where the file doesn't say, as no file of Keras 1 does.
    """

    version: str
    backend: str | None = None

    def before(self, major: int, minor: int = 0) -> bool:
        """Compare the version with `major.minor`."""
        parts = [*self.version.split("."), "0"][:2]
        numbers = tuple(int(part) if part.isdigit() else 0 for part in parts)
        return numbers < (major, minor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """An architecture in today's words, and what is to be told of the change.

    `output_shapes` are what layers were told to give where nothing else tells it today.
    """

    config: Config
    notes: tuple[str, ...] = ()
    output_shapes: tuple[tuple[str, tuple[int | None, ...]], ...] = ()
