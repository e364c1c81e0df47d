"""The version that answers a request, and where the time goes."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference import PredictResult, Times

VERSION_HEADER = "X-Model-Version"
TIMING_HEADER = "Server-Timing"

_TIMING = "queue;dur=%.3f, decode;dur=%.3f, compute;dur=%.3f, encode;dur=%.3f"  # ms
_LINES = f"{VERSION_HEADER}: %d\r\n{TIMING_HEADER}: {_TIMING}\r\n".lower().encode()


class Trace:
    """Notes on a request's answer so far; times are in seconds."""

    __slots__ = ("_encoding", "_started", "decode", "encode", "times", "version")

    def __init__(self) -> None:
        self.version: int | None = None
        self.times: Times | None = None
        self.decode = self.encode = 0.0
        self._started = time.perf_counter()
        self._encoding = 0.0

    def asked(self) -> None:
        """Note that the body is decoded."""
        self.decode = time.perf_counter() - self._started

    def answered(self, result: PredictResult) -> None:
        """Note what the engine returned."""
        self.version, self.times = result.model.version, result.times
        self._encoding = time.perf_counter()

    def encoded(self) -> None:
        """Note that the answer is encoded."""
        self.encode = time.perf_counter() - self._encoding

    def headers(self) -> dict[str, str]:
        """Return the headers of the answer; without times if no model ran for it."""
        found = {} if self.version is None else {VERSION_HEADER: str(self.version)}
        if self.times is not None:
            found[TIMING_HEADER] = server_timing(self.times, self.decode, self.encode)

        return found


trace: ContextVar[Trace | None] = ContextVar("trace", default=None)
"""The trace of the request which this task answers."""


def server_timing(times: Times, decode: float, encode: float) -> str:
    """Return the value of `Server-Timing`, in milliseconds."""
    bind, queue, compute = times
    spent = queue * 1000, (decode + bind) * 1000, compute * 1000, encode * 1000
    return _TIMING % spent


def header_lines(version: int, times: Times, decode: float, encode: float) -> bytes:
    """Return the lines of both headers, in lower case, as they are sent."""
    bind, queue, compute = times
    spent = queue * 1000, (decode + bind) * 1000, compute * 1000, encode * 1000
    return _LINES % (version, *spent)
