"""Direct views: short forms of Flask's, for small and plain requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from service.bridge.bridge import Scope
    from service.telemetry.requests import RequestCounters, Source

    Outcome: TypeAlias = "DirectAnswer | Awaitable[DirectAnswer] | Exception"
    Then: TypeAlias = Callable[[Outcome], None]


class DirectAnswer(NamedTuple):
    """A JSON body, its status, and header lines as they are sent, in lower case.

    `version` is that of the model which answered, `ended` when, by `perf_counter`.
    """

    body: bytes
    status: int
    lines: bytes
    version: int | None = None
    ended: float | None = None


class DirectView(Protocol):
    """A view of one path, of a request's scope and its whole body.

    Returns `None` for a request that is to go through Flask, before it first waits.
    """

    @property
    def fields(self) -> Mapping[str, str]:
        """Fields of the path for the access log."""

    @property
    def requests(self) -> RequestCounters:
        """The counters of its requests."""

    def source(self, version: int | None) -> Source:
        """Return who answered; without a version, who would answer now."""

    def __call__(self, scope: Scope, body: bytes) -> Awaitable[DirectAnswer | None]: ...

    def start(self, scope: Scope, body: bytes, then: Then) -> Waiting | None:
        """Begin to answer, as a call does; `then` gets the outcome in a later turn."""


class Waiting(Protocol):
    """A request that is being answered without a task."""

    def leave(self) -> None:
        """Wait no more: `then` isn't called."""
