"""A bound on the bytes of all request bodies that are being answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.exceptions import ServiceUnavailable

if TYPE_CHECKING:
    from typing import Self

RETRY_SECONDS = 1


class BodyBudget:
    """Lends out `limit` bytes. `taken` are lent now."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0

    def loan(self) -> Loan:
        """What one request takes until the block ends that it is entered for."""
        return Loan(self)


class Loan:
    """The bytes of one request's body; a context manager that gives them back."""

    __slots__ = ("_budget", "taken")

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self.taken = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._budget.taken -= self.taken
        self.taken = 0

    def take(self, size: int) -> None:
        """Take `size` bytes more; the first loan is never refused, however large.

        Raises `ServiceUnavailable`, with a Retry-After, where they aren't left.
        """
        budget = self._budget
        others = budget.taken - self.taken

        if others and budget.taken + size > budget.limit:
            raise ServiceUnavailable(
                f"the server holds {others} bytes of other requests' bodies, and with"
                f" this one it would be over its limit of {budget.limit}: send it again"
                " later, or raise the limit with --max-bodies-bytes",
                retry_after=RETRY_SECONDS,
            )

        budget.taken += size
        self.taken += size
