"""Slices, read where the kernel tells them."""

from __future__ import annotations

import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import get_native_id
from typing import TYPE_CHECKING

import pytest

from inference.time_slice import SHORT_SLICE, use_time_slices

if TYPE_CHECKING:
    from collections.abc import Iterator

TELLS = Path("/proc/self/sched")


def slice_of(thread: int) -> int | None:
    """In nanoseconds; `None` where the kernel doesn't tell."""
    path = Path(f"/proc/self/task/{thread}/sched")
    found = re.search(r"se\.slice\s*:\s*(\d+)", path.read_text())
    return int(found[1]) if found else None


def has_slices() -> bool:
    """Whether this is Linux 6.12 or later, and tells slices."""
    if sys.platform != "linux" or not TELLS.exists():
        return False

    numbers = os.uname().release.split(".")[:2]
    new = [int(number) for number in numbers if number.isdecimal()] >= [6, 12]
    return new and slice_of(os.getpid()) is not None


@pytest.fixture
def worker() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.mark.skipif(not has_slices(), reason="slices of their own")
def test_a_thread_and_those_that_it_starts(worker: ThreadPoolExecutor) -> None:
    before = slice_of(get_native_id())

    def started() -> int | None:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: slice_of(get_native_id())).result()

    worker.submit(use_time_slices, SHORT_SLICE).result()

    assert worker.submit(lambda: slice_of(get_native_id())).result() == 100_000
    assert worker.submit(started).result() == 100_000
    assert slice_of(get_native_id()) == before != 100_000


@pytest.mark.skipif(not has_slices(), reason="slices of their own")
def test_another_thread_by_its_number(worker: ThreadPoolExecutor) -> None:
    thread = worker.submit(get_native_id).result()
    use_time_slices(0.005, thread)
    assert slice_of(thread) == 5_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="threads' own priority")
def test_the_priority_stays(worker: ThreadPoolExecutor) -> None:
    thread = worker.submit(get_native_id).result()
    os.setpriority(os.PRIO_PROCESS, thread, 7)
    use_time_slices(SHORT_SLICE, thread)
    assert os.getpriority(os.PRIO_PROCESS, thread) == 7
    assert os.sched_getscheduler(thread) == os.SCHED_OTHER


def test_where_it_cannot_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    use_time_slices(SHORT_SLICE, 2**22 + 1)  # no such thread

    with monkeypatch.context() as patch:
        patch.setattr("platform.machine", lambda: "s390x")
        patch.setattr("ctypes.CDLL", None)
        use_time_slices(SHORT_SLICE)
