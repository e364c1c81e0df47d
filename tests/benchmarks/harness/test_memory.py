from __future__ import annotations

import mmap
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from benchmarks.harness.children import child
from benchmarks.harness.memory import (
    Memory,
    mapped_memory,
    process_memory,
    sampling,
    usage,
)
from tests.benchmarks.harness import holding

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 64 * mmap.PAGESIZE
HELD = 32 << 20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_a_mapping_is_resident_once_touched(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"w" * SIZE)

    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), SIZE, access=mmap.ACCESS_COPY) as mapped,
    ):
        assert mapped[:].count(b"w") == SIZE
        touched = mapped_memory(path)
        mapped[0] = 0
        written = mapped_memory(path)

    assert (touched.resident, touched.proportional) == (SIZE, SIZE)
    assert touched.anonymous == 0
    assert written.anonymous == mmap.PAGESIZE


def test_an_absent_mapping_takes_nothing(tmp_path: Path) -> None:
    assert mapped_memory(tmp_path / "absent") == Memory()


def test_a_process_has_memory_of_its_own() -> None:
    memory = process_memory()

    assert 0 < memory.anonymous <= memory.resident
    assert memory.proportional <= memory.resident


def test_usage_counts_threads_and_files(tmp_path: Path) -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    before = usage()

    with (tmp_path / "file").open("w"):
        thread.start()
        during = usage(os.getpid())
        over.set()

    thread.join()
    assert during.threads == before.threads + 1
    assert during.files == before.files + 1
    assert during.resident > 0


def test_a_short_peak_of_another_process_is_sampled() -> None:
    with child() as other:
        process = other.call(holding.number)

        with sampling(process) as samples:
            other.call(holding.hold, HELD, 0.2)
            time.sleep(0.05)

    assert samples.growth >= HELD
    assert samples.resident[-1] - samples.resident[0] < HELD / 2
    assert samples.longest > 0
