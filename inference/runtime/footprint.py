"""What a loaded model takes of this process's memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference.artifacts.artifact import Manifest

_STATM = Path("/proc/self/statm")
OVERHEAD = 4 * 1024**2
"""Threads, a session, and what is left in the heaps of models that went: 8 MiB in all,
for three models after 230 loads."""


def resident_bytes() -> int:
    """The process's resident memory, mapped files included; 0 where none can tell."""
    try:
        pages = _STATM.read_text("ascii").split()[1]
    except OSError:
        return 0

    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def expected_bytes(manifest: Manifest) -> int:
    """What a loaded model takes, by the compiler's measurement; no less than its files.

    Memory that was freed before hides what a model takes of it, so that a measurement
    may say too little, but never that the weights take nothing.
    """
    files = manifest.weights_bytes + manifest.graph_bytes
    return max(manifest.memory_bytes, files)
