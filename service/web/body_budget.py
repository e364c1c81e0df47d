"""A limit on the bytes of all request bodies held at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.exceptions import ServiceUnavailable

if TYPE_CHECKING:
    from typing import Self

RETRY_SECONDS = 1


class BodiesFull(ServiceUnavailable):
    """The bodies that are held leave no room for another."""


class BodyBudget:
    """`limit` bytes for request bodies, of which `taken` are reserved."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0

    def reservation(self) -> Reservation:
        """Return an empty reservation, to be entered while the body is held."""
        return Reservation(self)


class Reservation:
    """The bytes of one request's body; a context manager that frees them on exit."""

    __slots__ = ("_budget", "taken")

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self.taken = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._budget.taken -= self.taken
        self.taken = 0

    def add(self, size: int) -> None:
        """Reserve `size` more bytes. A request that is alone is never refused.

        Raise `BodiesFull`, with a Retry-After, if they would exceed the limit.
        """
        budget = self._budget
        others = budget.taken - self.taken

        if others and budget.taken + size > budget.limit:
            raise BodiesFull(
                f"the server holds {others} bytes of other requests' bodies, and with"
                f" this one it would be over its limit of {budget.limit}: send it again"
                " later, or raise the limit with --max-bodies-bytes",
                retry_after=RETRY_SECONDS,
            )

        budget.taken += size
        self.taken += size
