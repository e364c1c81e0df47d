"""Thread priorities, read from the kernel."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import get_native_id
from typing import TYPE_CHECKING

import pytest

from inference.runtime.servable import Servable, Threads
from inference.system.priority import STEPS, lower_priority, start_lowered
from tests.support.graphs import compile_graph, floats, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

linux = pytest.mark.skipif(sys.platform != "linux", reason="threads' own priority")

NICE_FIELD = 18 - 2
"""Counted from the state, which comes after the thread's name in parentheses."""


def nices() -> dict[int, int]:
    """Return the nice level of each thread of this process."""
    found = {}

    for folder in Path("/proc/self/task").iterdir():
        # One of another test may end meanwhile.
        with suppress(FileNotFoundError, ProcessLookupError):
            found[int(folder.name)] = nice_of(folder)

    return found


def nice_of(thread: Path) -> int:
    stat = (thread / "stat").read_text()
    return int(stat.rpartition(")")[2].split()[NICE_FIELD])


def nice_here() -> int:
    return nice_of(Path(f"/proc/self/task/{get_native_id()}"))


@pytest.fixture
def worker() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@linux
def test_only_the_calling_thread_is_lowered(worker: ThreadPoolExecutor) -> None:
    before = nice_here()
    assert worker.submit(nice_here).result() == before

    worker.submit(lower_priority).result()

    assert worker.submit(nice_here).result() == before + STEPS
    assert nice_here() == before


@linux
def test_thread_is_lowered_once(worker: ThreadPoolExecutor) -> None:
    for _ in range(3):
        worker.submit(lower_priority).result()

    assert worker.submit(nice_here).result() == nice_here() + STEPS


@linux
def test_inherited_priority_isnt_lowered_again(worker: ThreadPoolExecutor) -> None:
    def inherit() -> int:
        lower_priority()

        with ThreadPoolExecutor(1, initializer=lower_priority) as inner:
            return inner.submit(nice_here).result()

    assert worker.submit(inherit).result() == nice_here() + STEPS


@linux
def test_threads_that_are_started_lowered() -> None:
    before = nice_here()

    with start_lowered(lambda: _started(ThreadPoolExecutor(1))) as pool:
        assert pool.submit(nice_here).result() == before + STEPS
        assert nice_here() == before


def _started(pool: ThreadPoolExecutor) -> ThreadPoolExecutor:
    pool.submit(int).result()
    return pool


@linux
def test_a_models_own_threads_are_lowered(tmp_path: Path) -> None:
    artifact = compile_graph(tmp_path, lambda: rows("x", 4) + 1.0)
    before = set(nices())

    with Servable(artifact, threads=Threads(intra_op=3)) as servable:
        new = {thread: nice for thread, nice in nices().items() if thread not in before}
        assert servable.run("serving_default", {"x": floats(2, 4)})

    assert len(new) >= 3
    assert set(new.values()) == {nice_here() + STEPS}


@linux
def test_priority_is_never_raised() -> None:
    def inner() -> int:
        return start_lowered(nice_here)

    assert start_lowered(inner, STEPS + 4) == nice_here() + STEPS + 4


def test_forbidden_change_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", forbid)

    assert start_lowered(lambda: "started") == "started"


def test_systems_without_thread_priorities_are_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[object] = []
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(os, "setpriority", lambda *each: calls.append(each))

    assert start_lowered(lambda: "started") == "started"
    assert calls == []
