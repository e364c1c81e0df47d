from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from inference.artifacts import child
from inference.artifacts.child import compiler_threads, give_share
from inference.system.priority import BACKGROUND_STEPS, COMPILER_STEPS

if TYPE_CHECKING:
    from collections.abc import Iterator

linux = pytest.mark.skipif(sys.platform != "linux", reason="affinities")


@pytest.fixture
def process() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) as process:
        yield process.pid
        process.kill()


def set_cpus(patch: pytest.MonkeyPatch, available: int, affinity: int) -> None:
    patch.setattr(child, "available_cpus", lambda: available)
    patch.setattr(child, "affinity_cpus", lambda: affinity)


@pytest.mark.parametrize(
    ("cpus", "background", "threads"),
    [(1, False, 1), (1, True, 1), (2, True, 1), (5, False, 5), (5, True, 2)],
)
def test_compiler_threads_are_halved_in_the_background(
    monkeypatch: pytest.MonkeyPatch, cpus: int, background: bool, threads: int
) -> None:
    set_cpus(monkeypatch, cpus, cpus)
    assert compiler_threads(background=background) == threads


@linux
@pytest.mark.parametrize(
    ("background", "steps"), [(False, COMPILER_STEPS), (True, BACKGROUND_STEPS)]
)
def test_child_has_a_lower_priority(process: int, background: bool, steps: int) -> None:
    give_share(process, background=background)
    wanted = min(os.getpriority(os.PRIO_PROCESS, 0) + steps, 19)
    assert os.getpriority(os.PRIO_PROCESS, process) == wanted


@linux
def test_background_child_is_bound_to_half_of_the_cpus(
    monkeypatch: pytest.MonkeyPatch, process: int
) -> None:
    every = os.sched_getaffinity(0)
    set_cpus(monkeypatch, len(every), len(every))
    give_share(process, background=True)
    kept = os.sched_getaffinity(process)
    assert kept <= every
    assert len(kept) == max(1, len(every) // 2)
    assert os.sched_getaffinity(0) == every


@linux
@pytest.mark.parametrize(("available", "background"), [(1, True), (64, False)])
def test_child_is_not_bound_without_need(
    monkeypatch: pytest.MonkeyPatch, process: int, available: int, background: bool
) -> None:
    """A container's share is of time; without requests, a compiler has all CPUs."""
    set_cpus(monkeypatch, available, 64)
    give_share(process, background=background)
    assert os.sched_getaffinity(process) == os.sched_getaffinity(0)


@linux
def test_ended_process_is_ignored() -> None:
    give_share(2**22 + 1, background=True)
