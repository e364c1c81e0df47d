"""The contract of a store of answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

Body = bytes | list[bytes]
"""An encoded answer, whole or in pieces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An answer that was kept, and the seconds since."""

    body: Body
    age: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFigures:
    """The answers that are kept, those that have expired but are still there too."""

    entries: int
    nbytes: int


class AnswerStore(Protocol):
    """Keeps answers within a bound of bytes; those asked for longest ago go first.

    As a context manager it holds its connections. A store that can't be reached finds
    nothing and keeps nothing, within milliseconds, and raises nothing. `shared` says
    that other processes have the same answers.
    """

    shared: bool

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc_info: object) -> None: ...

    async def get(self, key: str, seconds: float) -> Stored | None:
        """Return what was put under `key` for `seconds`, if that isn't over."""
        ...

    async def put(self, key: str, body: Body, seconds: float) -> bool:
        """Keep an answer for `seconds`; return whether it is kept."""
        ...

    async def figures(self) -> StoreFigures | None:
        """Return the store's figures, `None` if it can't be reached."""
        ...


def nbytes_of(body: Body) -> int:
    return len(body) if isinstance(body, bytes) else sum(map(len, body))


def joined(body: bytes | Sequence[bytes]) -> bytes:
    return body if isinstance(body, bytes) else b"".join(body)
