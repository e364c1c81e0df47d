"""The choice of the version to evict, and the refusal where none may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from inference.errors import LoadFailed
from inference.system.memory import show_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable


class Resident(Protocol):
    """A version in memory. `last_used` is by any clock, in seconds."""

    @property
    def pinned(self) -> bool: ...
    @property
    def idle(self) -> bool: ...
    @property
    def last_used(self) -> float: ...


R = TypeVar("R", bound=Resident)


def choose_victim(residents: Iterable[R], *, busy: bool) -> R | None:
    """Return the least recently used idle version that isn't pinned.

    With `busy`, where none is idle, the least recently used busy one.
    """
    candidates = [each for each in residents if not each.pinned]
    allowed = [each for each in candidates if busy or each.idle]
    return min(allowed, key=lambda each: (not each.idle, each.last_used), default=None)


def check_possible(nbytes: int, pinned: int, budget: int) -> None:
    """Raise `LoadFailed` if `nbytes` more can't fit, whatever is evicted.

    `pinned` are the bytes of pinned models.
    """
    if nbytes > budget:
        raise LoadFailed(
            f"It needs {show_bytes(nbytes)} of memory, and the budget of all models "
            f"is {show_bytes(budget)}. Raise --memory-budget."
        )

    if nbytes + pinned > budget:
        raise LoadFailed(
            f"It needs {show_bytes(nbytes)} of memory, and pinned models take "
            f"{show_bytes(pinned)} of the budget of {show_bytes(budget)}. Raise "
            "--memory-budget, or unpin one."
        )
