"""The resident memory of another process, read again and again beside what else goes
on here."""

from __future__ import annotations

import os
import time
from array import array
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Sampler:
    """While its block runs, `samples` gets the bytes resident every `seconds`.

    `longest` is the longest time between two samples.
    """

    def __init__(self, process: int, seconds: float = 0.01) -> None:
        self.samples = array("q")
        self.longest = 0.0
        self._statm = Path(f"/proc/{process}/statm")
        self._seconds = seconds
        self._over = Event()
        self._thread = Thread(target=self._run)

    def __enter__(self) -> Self:
        self.samples.append(self.now())
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def now(self) -> int:
        return int(self._statm.read_text("ascii").split()[1]) * PAGE_BYTES

    def _run(self) -> None:
        last = time.monotonic()

        while not self._over.wait(self._seconds):
            self.samples.append(self.now())
            now = time.monotonic()
            self.longest = max(self.longest, now - last)
            last = now
