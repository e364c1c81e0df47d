"""Memory, threads and open files as the kernel counts them (Linux only), in bytes."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@dataclass(slots=True)
class Samples:
    """Resident bytes of a process; `longest` is the most seconds between two."""

    resident: list[int] = field(default_factory=list)
    longest: float = 0.0

    @property
    def growth(self) -> int:
        """Most bytes that the process had over the first sample."""
        return max(self.resident) - self.resident[0]


@contextmanager
def sampling(process: int, seconds: float = 0.01) -> Iterator[Samples]:
    """Read a process' resident bytes every `seconds` until the block ends."""
    statm, samples, over = Path(f"/proc/{process}/statm"), Samples(), Event()

    def sample() -> None:
        pages = statm.read_text("ascii").split()[1]
        samples.resident.append(int(pages) * PAGE_BYTES)

    def run() -> None:
        last = time.monotonic()

        while not over.wait(seconds):
            sample()
            now = time.monotonic()
            samples.longest = max(samples.longest, now - last)
            last = now

    sample()

    with ThreadPoolExecutor(1) as pool:
        sampled = pool.submit(run)

        try:
            yield samples
        finally:
            over.set()

        sampled.result()


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
    sums: Counter[str] = Counter()

    for line in lines:
        if found := _FIELD.match(line):
            sums[found[1]] += int(found[2]) * 1024

    return Memory(
        resident=sums["Rss"], proportional=sums["Pss"], anonymous=sums["Anonymous"]
    )
