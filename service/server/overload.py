"""Overload control: how many requests start, and which are refused unseen."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from inference import InferenceError, Overloaded

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from flask import Request

    from inference import Engine, ModelSpec

# Few, since a batch waits two or three turns for its next step: with 32 the queue of a
# small model filled up under overload, whose refusals cost ten times those of the line.
AT_ONCE = 8
LINE_SECONDS = 0.1
SHORTEST_LINE = 128
LONGEST_LINE = 1024
WEIGHT = 0.1

NOTE = "tandem.note_refusal"
"""Key in the ASGI scope and WSGI environ of the callback that records a refusal."""

MAX_TARGETS = 1024
MAX_TARGET = 512


class Turnstile:
    """Begins requests, `at_once` in a turn of the loop, in the order they came.

    What comes in one turn is begun in the next. Were all of it begun, then under
    overload each turn would be longer than the last, and nobody be answered in time.
    With the turns short, what is too much is refused within one. The line is as long
    as what can be begun in `LINE_SECONDS`, by what was measured. For one event loop.
    """

    def __init__(
        self, *, at_once: int = AT_ONCE, shortest: int = SHORTEST_LINE
    ) -> None:
        self.longest = shortest
        self._at_once = at_once
        self._shortest = shortest
        self._line: deque[Callable[[], None]] = deque()
        self._begun = 0
        self._since: float | None = None
        self._seconds = 0.0

    @property
    def full(self) -> bool:
        """Whether one more would wait for too long."""
        return len(self._line) >= self.longest

    def enter(self, begin: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        """Call `begin` now, or in a later turn."""
        if self._begun < self._at_once:
            self._begun += 1
            begin()
        else:
            self._line.append(begin)

        if self._since is None:
            self._since = loop.time()
            loop.call_soon(self._turn, loop)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()

        if self._since is not None and self._line:
            self._measure((now - self._since) / self._begun)

        self._since = now
        self._begun = 0

        while self._line and self._begun < self._at_once:
            self._begun += 1
            self._line.popleft()()

        if self._begun:
            loop.call_soon(self._turn, loop)
        else:
            self._since = None

    def _measure(self, seconds: float) -> None:
        """A turn took `seconds` for each request that it began, while others waited."""
        self._seconds += WEIGHT * (seconds - self._seconds)
        longest = int(LINE_SECONDS / self._seconds) if self._seconds else LONGEST_LINE
        self.longest = max(self._shortest, min(longest, LONGEST_LINE))


class KnownRefusals:
    """By a request's method and target: how to ask whether its model is still too busy.

    Under overload nearly all requests are for targets that were just refused; asking
    costs 3 µs, and Flask's way to the same answer several hundred. Learned from the
    application, so it holds whatever URLs that has. For one event loop.
    """

    def __init__(self) -> None:
        self._asked: dict[bytes, Callable[[], None]] = {}

    def note(self, target: bytes, ask: Callable[[], None]) -> None:
        """`ask` raised `Overloaded` for this target."""
        if len(target) > MAX_TARGET:
            return

        if len(self._asked) >= MAX_TARGETS:
            self._asked.clear()

        self._asked[target] = ask

    def refusal(self, target: bytes) -> Overloaded | None:
        """What the application would refuse the request with now, if it is known to."""
        ask = self._asked.get(target)
        if ask is None:
            return None

        try:
            ask()
        except Overloaded as exc:
            return exc
        except InferenceError:
            del self._asked[target]

        return None


def admit(request: Request, engine: Engine, spec: ModelSpec) -> None:
    """Raises what `engine.admit` raises; a refusal is told to whoever wants to know."""
    try:
        engine.admit(spec)
    except Overloaded:
        note = request.environ.get(NOTE)
        if note is not None:
            note(partial(engine.admit, spec))

        raise
