"""The origin of a Keras file, and a translation of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Config = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The version of Keras and the backend that wrote a file.

    `backend` is `None` if the file doesn't say, as no file of Keras 1 does.
    """

    version: str
    backend: str | None = None

    def before(self, major: int, minor: int = 0) -> bool:
        """Return whether the version is older than `major.minor`."""
        parts = [*self.version.split("."), "0"][:2]
        numbers = tuple(int(part) if part.isdigit() else 0 for part in parts)
        return numbers < (major, minor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """An architecture in today's terms, with notes on the changes.

    `output_shapes` are shapes that the file gives for layers and no argument has today.
    """

    config: Config
    notes: tuple[str, ...] = ()
    output_shapes: tuple[tuple[str, tuple[int | None, ...]], ...] = ()
