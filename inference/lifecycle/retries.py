"""When what failed may be tried again: each failure in a row doubles the wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

FIRST_SECONDS = 5.0
LONGEST_SECONDS = 300.0

K = TypeVar("K")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why something failed last, and for how many seconds it is left alone yet."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    reason: str
    count: int
    until: float


class Retries(Generic[K]):
    """What failed, by key. Pure: `now` is any clock's, in seconds."""

    def __init__(self) -> None:
        self._attempts: dict[K, _Attempt] = {}

    def failed(self, key: K, reason: str, now: float) -> None:
        count = self._attempts[key].count + 1 if key in self._attempts else 1
        # Bounded before it is raised to a power: failures may go on for years.
        wait = min(FIRST_SECONDS * 2 ** min(count - 1, 16), LONGEST_SECONDS)
        self._attempts[key] = _Attempt(reason=reason, count=count, until=now + wait)

    def forget(self, key: K) -> None:
        """It succeeded, or is gone."""
        self._attempts.pop(key, None)

    def failure(self, key: K, now: float) -> Failure | None:
        """The last failure, while it is too early to try again."""
        attempt = self._attempts.get(key)

        if attempt is None or now >= attempt.until:
            return None

        return Failure(reason=attempt.reason, seconds=attempt.until - now)
