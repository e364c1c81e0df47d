"""Overload control: how many requests start, and which are refused unseen."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from inference import InferenceError, Overloaded
from service.telemetry.requests import source_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping
    from typing import Any

    from flask import Request

    from inference import Engine, ModelSpec
    from service.telemetry.requests import Source

# As many as a batch of a small model has; with 8, batches were of 8 rows.
STARTS_PER_TURN = 32
QUEUE_SECONDS = 0.1
MIN_QUEUE = 128
MAX_QUEUE = 1024
SMOOTHING = 0.1

RECORD_REFUSAL = "tandem.record_refusal"
"""Key in the ASGI scope and WSGI environ of the callback that records a refusal.

The scope's takes the scope, a check and its source, the environ's the latter two.
"""

MAX_TARGETS = 1024
MAX_TARGET = 512


class StartLimiter:
    """Starts at most `per_turn` requests in a turn of the loop, in order of arrival.

    The others queue, as many as can start in `QUEUE_SECONDS` by the measured rate. For
    one event loop.
    """

    def __init__(
        self, *, per_turn: int = STARTS_PER_TURN, min_queue: int = MIN_QUEUE
    ) -> None:
        self.max_queue = min_queue
        self._per_turn = per_turn
        self._min_queue = min_queue
        self._queue: deque[Callable[[], None]] = deque()
        self._started = 0
        self._since: float | None = None
        self._seconds = 0.0

    @property
    def full(self) -> bool:
        """Return whether one more would wait for too long."""
        return len(self._queue) >= self.max_queue

    def start(
        self, function: Callable[[], None], loop: asyncio.AbstractEventLoop
    ) -> None:
        """Call `function` in this turn or in a later one."""
        # If all requests that arrived in one turn started in the next, each turn would
        # be longer than the last under overload, and no request be answered in time.
        if self._started < self._per_turn:
            self._started += 1
            function()
        else:
            self._queue.append(function)

        if self._since is None:
            self._since = loop.time()
            loop.call_soon(self._turn, loop)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()

        if self._since is not None and self._queue:
            self._measure((now - self._since) / self._started)

        self._since = now
        self._started = 0

        while self._queue and self._started < self._per_turn:
            self._started += 1
            self._queue.popleft()()

        if self._started:
            loop.call_soon(self._turn, loop)
        else:
            self._since = None

    def _measure(self, seconds: float) -> None:
        """Adapt the queue to the `seconds` a start took while others waited."""
        self._seconds += SMOOTHING * (seconds - self._seconds)
        max_queue = int(QUEUE_SECONDS / self._seconds) if self._seconds else MAX_QUEUE
        self.max_queue = max(self._min_queue, min(max_queue, MAX_QUEUE))


class KnownRefusal(NamedTuple):
    """The error of a request that is refused, and who refuses it."""

    error: Overloaded
    source: Source


class KnownRefusals:
    """Checks, by method and target, whether a model that refused is still too busy.

    The application records the targets, so any of its URLs will do. For one event loop.
    """

    # Under overload nearly all requests are for targets that were just refused. A check
    # costs 3 µs; the same answer from Flask costs several hundred.
    def __init__(self) -> None:
        self._checks: dict[bytes, tuple[Callable[[], None], Source]] = {}

    def __bool__(self) -> bool:
        return bool(self._checks)

    def record_request(
        self, scope: Mapping[str, Any], check: Callable[[], None], source: Source
    ) -> None:
        """Record that `check` raised `Overloaded` for a request."""
        target = b"%b %b" % (scope["method"].encode(), scope["raw_path"])
        if scope["query_string"]:
            target += b"?" + scope["query_string"]

        self.record(target, check, source)

    def record(self, target: bytes, check: Callable[[], None], source: Source) -> None:
        """Record that `check` raised `Overloaded` for this target."""
        if len(target) > MAX_TARGET:
            return

        if len(self._checks) >= MAX_TARGETS:
            self._checks.clear()

        self._checks[target] = check, source

    def refusal(self, target: bytes) -> KnownRefusal | None:
        """Return the error that the application would raise now, if that is known."""
        known = self._checks.get(target)
        if known is None:
            return None

        check, source = known
        try:
            check()
        except Overloaded as exc:
            return KnownRefusal(exc, source)
        except InferenceError:
            del self._checks[target]

        return None


def admit(request: Request, engine: Engine, spec: ModelSpec, protocol: str) -> None:
    """Admit a request. Raise what `engine.admit` raises; record an `Overloaded`."""
    try:
        engine.admit(spec)
    except Overloaded:
        record = request.environ.get(RECORD_REFUSAL)
        if record is not None:
            record(partial(engine.admit, spec), source_of(engine, spec, protocol))

        raise
