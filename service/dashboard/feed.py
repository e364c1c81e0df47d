"""The page's data over time: the last quarter of an hour, and events for listeners."""

from __future__ import annotations

import json
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import orjson
import structlog

from service.dashboard.overview import Versions, changes, overview
from service.dashboard.readings import TOTAL, Rates

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

    from service.dashboard.overview import Document, State
    from service.dashboard.readings import Reading

    Read: TypeAlias = Callable[[], Awaitable[State]]

log = structlog.get_logger("tandem.page")

TICK_SECONDS = 1.0
"""The time between two events."""

POINT_SECONDS = 5.0
"""The time between two points of the history."""

HISTORY_SECONDS = 900.0
RATE_SECONDS = 10.0
"""The span that rates and latencies are of."""

SERIES = ("requests_per_second", "errors_per_second", "p50", "p99", "batch_rows")


class Feed:
    """Takes readings while `run` runs: often while somebody listens, else seldom.

    All `listeners` are sent the same bytes, which are made once. For the loop's thread.
    """

    def __init__(
        self, read: Read, now: Callable[[], float] = anyio.current_time
    ) -> None:
        self._read = read
        self._now = now
        self._readings: deque[Reading] = deque()
        self._points: deque[dict[str, Any]] = deque(
            maxlen=int(HISTORY_SECONDS / POINT_SECONDS)
        )
        self._last_point: Reading | None = None
        self._versions = Versions()
        self._document: Document | None = None
        self._change = b""
        self._number = 0
        self.listeners = 0
        self._ticked = anyio.Event()
        self._taking = anyio.Lock()

    async def run(self) -> None:
        """Take readings until cancelled."""
        while True:
            if not (self.listeners or self._point_is_due()):
                await anyio.sleep(TICK_SECONDS)
                continue

            try:
                await self.take()
            except Exception:
                # A page that stands still is no reason to stop serving.
                log.exception("reading for the page failed")

            await anyio.sleep(TICK_SECONDS)

    async def take(self) -> None:
        """Take a reading, and pass what has changed to listeners."""
        async with self._taking:
            state = await self._read()
            reading = state.reading
            self._readings.append(reading)
            # One that is a little older than the span is kept to begin it.
            while len(self._readings) > 1 and self._is_over(self._readings[1]):
                self._readings.popleft()

            point = self._note(reading)
            before = self._document
            rates = reading.since(self._readings[0])
            self._document = now = overview(state, rates, self._versions)
            self._number += 1
            if self.listeners and before is not None:
                self._change = _event("change", {**changes(before, now), **point})

        ticked, self._ticked = self._ticked, anyio.Event()
        ticked.set()

    async def whole(self) -> bytes:
        """Return the document as JSON, as it is now or was a moment ago."""
        await self._refresh()
        return self._dump()

    async def follow(self) -> AsyncGenerator[bytes]:
        """Yield an event with the whole document, then one for each reading."""
        with self._listening():
            await self._refresh()
            seen, ticked = self._number, self._ticked
            yield b"event: overview\ndata: " + self._dump() + b"\n\n"
            while True:
                await ticked.wait()
                missed = self._number != seen + 1
                seen, ticked = self._number, self._ticked
                if missed:
                    # A slow client takes up what it has missed at once.
                    yield b"event: overview\ndata: " + self._dump() + b"\n\n"
                else:
                    yield self._change

    async def _refresh(self) -> None:
        now = self._now()
        if not self._readings or now - self._readings[-1].at > TICK_SECONDS:
            await self.take()

    @contextmanager
    def _listening(self) -> Iterator[None]:
        self.listeners += 1
        try:
            yield
        finally:
            self.listeners -= 1

    def _point_is_due(self) -> bool:
        last = self._last_point
        return last is None or self._now() - last.at >= POINT_SECONDS

    def _is_over(self, reading: Reading) -> bool:
        return self._readings[-1].at - reading.at >= RATE_SECONDS

    def _note(self, reading: Reading) -> dict[str, Any]:
        """Add a point to the history if it is due; return it for the event."""
        if not self._point_is_due():
            return {}

        last, self._last_point = self._last_point, reading
        rates = Rates() if last is None else reading.since(last)
        point = {
            "at": round(time.time(), 1),
            "memory_bytes": reading.memory_bytes,
            **{name: rates.document(TOTAL)[name] for name in SERIES},
        }
        self._points.append(point)
        return {"point": point}

    def _dump(self) -> bytes:
        return _json({**(self._document or {}), "history": list(self._points)})


def _event(name: str, document: Document) -> bytes:
    return f"event: {name}\ndata: ".encode() + _json(document) + b"\n\n"


def _json(document: Document) -> bytes:
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:
        # The names of files that aren't UTF-8 contain lone surrogates.
        return json.dumps(document).encode()
