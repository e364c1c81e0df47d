"""A bound on the bytes of all request bodies that are being answered."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from werkzeug.exceptions import ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

RETRY_SECONDS = 1


class BodyBudget:
    """Lends out `limit` bytes. `taken` are lent now."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0

    @contextmanager
    def loan(self) -> Iterator[Loan]:
        """What one request takes until the block ends."""
        loan = Loan(self)

        try:
            yield loan
        finally:
            self.taken -= loan.taken


class Loan:
    """The bytes of one request's body."""

    __slots__ = ("_budget", "taken")

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
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
