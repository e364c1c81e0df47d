from __future__ import annotations

import mmap
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.memory_probe import Memory, mapped_memory, process_memory

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 64 * mmap.PAGESIZE

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


def test_what_is_not_mapped_takes_nothing(tmp_path: Path) -> None:
    assert mapped_memory(tmp_path / "absent") == Memory()


def test_a_process_has_memory_of_its_own() -> None:
    memory = process_memory()

    assert 0 < memory.anonymous <= memory.resident
    assert memory.proportional <= memory.resident
