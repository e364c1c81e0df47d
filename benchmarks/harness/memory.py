"""Memory, threads and open files as the kernel counts them (Linux only), in bytes."""

from __future__ import annotations

import os
import re
import time
from array import array
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

MB, MIB = 1e6, 1024**2
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_FIELD = re.compile(r"(\w+):\s+(\d+) kB")
_MAPPING = re.compile(r"[0-9a-f]+-[0-9a-f]+ ")
_STATUS = re.compile(r"^(Threads|VmRSS):\s+(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes of a process, or of some of its mappings.

    `resident` counts shared pages whole, `proportional` divides them by how many
    processes share them, `anonymous` has no file behind it: it can't be shared or
    dropped.
    """

    resident: int = 0
    proportional: int = 0
    anonymous: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Resident bytes, threads and open files of a process."""

    resident: int
    threads: int
    files: int


class Sampler:
    """Resident bytes of a process, read every `seconds` while its block runs.

    `longest` is the longest time between two samples, in seconds.
    """

    def __init__(self, process: int, seconds: float = 0.01) -> None:
        self.samples = array("q")
        self.longest = 0.0
        self._statm = Path(f"/proc/{process}/statm")
        self._seconds = seconds
        self._over = Event()
        self._thread = Thread(target=self._run)

    @property
    def growth(self) -> int:
        """Most bytes that the process had over the first sample."""
        return max(self.samples) - self.samples[0]

    def __enter__(self) -> Self:
        self._sample()
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

    def _sample(self) -> None:
        pages = self._statm.read_text("ascii").split()[1]
        self.samples.append(int(pages) * PAGE_BYTES)

    def _run(self) -> None:
        last = time.monotonic()

        while not self._over.wait(self._seconds):
            self._sample()
            now = time.monotonic()
            self.longest = max(self.longest, now - last)
            last = now


def usage(process: int | str = "self") -> Usage:
    """Read the usage of a process, by default of this one."""
    folder = Path("/proc", str(process))
    found = dict(_STATUS.findall((folder / "status").read_text()))
    return Usage(
        resident=int(found["VmRSS"]) * 1024,
        threads=int(found["Threads"]),
        files=len(os.listdir(folder / "fd")),
    )


def process_memory() -> Memory:
    """Read the memory of this process as a whole."""
    return _memory(Path("/proc/self/smaps_rollup").read_text().splitlines())


def mapped_memory(*files: Path) -> Memory:
    """Read this process' mappings of `files`; zeros where there are none."""
    names = {str(file.resolve()) for file in files}
    lines: list[str] = []
    inside = False

    for line in Path("/proc/self/smaps").read_text().splitlines():
        if _MAPPING.match(line):
            inside = _mapped_file(line) in names
        elif inside:
            lines.append(line)

    return _memory(lines)


def _mapped_file(line: str) -> str:
    # The path may have spaces.
    fields = line.split(maxsplit=5)
    return fields[5] if len(fields) > 5 else ""


def _memory(lines: list[str]) -> Memory:
    sums = dict.fromkeys(("Rss", "Pss", "Anonymous"), 0)

    for line in lines:
        found = _FIELD.match(line)

        if found and found[1] in sums:
            sums[found[1]] += int(found[2]) * 1024

    return Memory(
        resident=sums["Rss"], proportional=sums["Pss"], anonymous=sums["Anonymous"]
    )
