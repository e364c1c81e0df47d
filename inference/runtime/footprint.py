"""The memory of a loaded model in this process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference.artifacts.artifact import Manifest

_STATM = Path("/proc/self/statm")
OVERHEAD = 4 * 1024**2
"""Threads, a session, and remains of unloaded models in the heaps: 8 MiB in all, for
three models after 230 loads."""


def resident_bytes() -> int:
    """Return the resident memory, mapped files included; 0 if it isn't known."""
    try:
        pages = _STATM.read_text("ascii").split()[1]
    except OSError:
        return 0

    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def expected_bytes(manifest: Manifest) -> int:
    """Return a loaded model's bytes as the compiler measured them, or its files'."""
    # A model that reuses freed memory measures too little, but its weights take room.
    files = manifest.weights_bytes + manifest.graph_bytes
    return max(manifest.memory_bytes, files)
