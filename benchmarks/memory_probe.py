"""What the kernel says of this process' memory (Linux only), in bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_FIELD = re.compile(r"(\w+):\s+(\d+) kB")
_MAPPING = re.compile(r"[0-9a-f]+-[0-9a-f]+ ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """`resident` counts shared pages whole, `proportional` by how many share them.

    `anonymous` is what no file backs: nobody else can share it, nor can it be dropped.
    """

    resident: int = 0
    proportional: int = 0
    anonymous: int = 0
    private_dirty: int = 0


def process_memory() -> Memory:
    """This process as a whole."""
    return _memory(Path("/proc/self/smaps_rollup").read_text().splitlines())


def mapped_memory(*files: Path) -> Memory:
    """This process' mappings of `files`; zeros when there are none."""
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
    """The path in a mapping's head; it may have spaces."""
    fields = line.split(maxsplit=5)
    return fields[5] if len(fields) > 5 else ""


def _memory(lines: list[str]) -> Memory:
    sums = dict.fromkeys(("Rss", "Pss", "Anonymous", "Private_Dirty"), 0)

    for line in lines:
        found = _FIELD.match(line)

        if found and found[1] in sums:
            sums[found[1]] += int(found[2]) * 1024

    return Memory(
        resident=sums["Rss"],
        proportional=sums["Pss"],
        anonymous=sums["Anonymous"],
        private_dirty=sums["Private_Dirty"],
    )
