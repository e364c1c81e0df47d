"""Retries with exponential backoff, and the load history of each version's files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from inference.errors import InvalidModel, InvalidSidecar

if TYPE_CHECKING:
    from inference.lifecycle.model import Model

FIRST_SECONDS = 5.0
LONGEST_SECONDS = 300.0

K = TypeVar("K")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The reason of the last failure, and the seconds until the next retry."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    reason: str
    count: int
    until: float


class Retries(Generic[K]):
    """Failures by key; each one in a row doubles the backoff.

    Pure: `now` is any clock's, in seconds.
    """

    def __init__(self) -> None:
        self._attempts: dict[K, _Attempt] = {}

    def record_failure(self, key: K, reason: str, now: float) -> None:
        count = self._attempts[key].count + 1 if key in self._attempts else 1
        # Bounded before it is raised to a power: failures may go on for years.
        wait = min(FIRST_SECONDS * 2 ** min(count - 1, 16), LONGEST_SECONDS)
        self._attempts[key] = _Attempt(reason=reason, count=count, until=now + wait)

    def forget(self, key: K) -> None:
        self._attempts.pop(key, None)

    def failure(self, key: K, now: float) -> Failure | None:
        """Return the last failure, while it is too early for a retry."""
        attempt = self._attempts.get(key)

        if attempt is None or now >= attempt.until:
            return None

        return Failure(reason=attempt.reason, seconds=attempt.until - now)


class LoadHistory:
    """Loads of each version by its files' fingerprint, their failures and backoff.

    Pure: `now` is any clock's, in seconds.
    """

    def __init__(self) -> None:
        self._tried: dict[Model, str] = {}
        self._refused: set[Model] = set()
        self._retries: Retries[Model] = Retries()

    def begin(self, model: Model, fingerprint: str) -> None:
        self._tried[model] = fingerprint
        self._refused.discard(model)

    def succeed(self, model: Model) -> None:
        self._retries.forget(model)

    def fail(self, model: Model, error: Exception, reason: str, now: float) -> None:
        if isinstance(error, InvalidSidecar):
            # Reading it again costs nothing, so no backoff once it changes.
            self._refused.add(model)
            self._retries.forget(model)
            return

        # Refused files back off even once they change: they may be rewritten often.
        self._retries.record_failure(model, reason, now)

        if not isinstance(error, InvalidModel):
            # Not the files' fault, so the same files are tried again.
            self._tried.pop(model, None)

    def reset_backoff(self, model: Model) -> None:
        self._retries.forget(model)

    def forget(self, model: Model) -> None:
        self._tried.pop(model, None)
        self._refused.discard(model)
        self._retries.forget(model)

    def tried(self, model: Model, fingerprint: str) -> bool:
        """Return whether the outcome of loading these files is known."""
        return self._tried.get(model) == fingerprint

    def backoff(self, model: Model, now: float) -> float:
        """Return the seconds until the next retry, or 0."""
        failure = self._retries.failure(model, now)
        return failure.seconds if failure else 0.0

    def refused_sidecar(self, model: Model) -> bool:
        """Return whether the last failure was its sidecar's."""
        return model in self._refused
