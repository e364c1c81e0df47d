from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from itertools import count
from threading import Event, current_thread, main_thread

import anyio
import pytest

from inference.repository.poller import DaemonCall

LONG_SECONDS = 60.0
SHORT_SECONDS = 0.05

HANGING = """
import threading
import anyio
from inference.repository.poller import DaemonCall

async def main():
    try:
        await DaemonCall(threading.Event().wait, timeout_seconds=0.1).call()
    except TimeoutError as exc:
        print(exc)

anyio.run(main)
print("loop ended")
"""


@dataclass
class Slow:
    """A call that returns its number once the gate opens."""

    gate: Event = field(default_factory=Event)
    entered: Event = field(default_factory=Event)
    numbers: count[int] = field(default_factory=lambda: count(1))
    begun: int = 0

    def __call__(self) -> int:
        self.begun = next(self.numbers)
        number = self.begun
        self.entered.set()
        assert self.gate.wait(LONG_SECONDS)
        return number


async def test_result_is_returned() -> None:
    daemon = DaemonCall(lambda: "seen", timeout_seconds=LONG_SECONDS)

    assert await daemon.call() == "seen"
    assert await daemon.call() == "seen"


async def test_none_is_a_result() -> None:
    nothing: list[int | None] = [None]
    daemon = DaemonCall(lambda: nothing[0], timeout_seconds=LONG_SECONDS)

    assert await daemon.call() is None


async def test_call_runs_in_a_daemon_thread() -> None:
    thread = await DaemonCall(current_thread, timeout_seconds=LONG_SECONDS).call()

    assert thread is not main_thread()
    assert thread.daemon


@pytest.mark.parametrize("kind", [OSError, TimeoutError, ValueError])
async def test_error_is_raised(kind: type[Exception]) -> None:
    def call() -> None:
        raise kind("of its own")

    daemon = DaemonCall(call, timeout_seconds=LONG_SECONDS)

    for _ in range(2):
        with pytest.raises(kind, match="of its own"):
            await daemon.call()


async def test_hanging_call_times_out() -> None:
    slow = Slow()
    daemon = DaemonCall(slow, timeout_seconds=SHORT_SECONDS)

    for _ in range(3):
        with pytest.raises(TimeoutError, match=r"No answer within 0\.05 s"):
            await daemon.call()

    assert slow.entered.wait(LONG_SECONDS)
    assert slow.begun == 1
    slow.gate.set()


async def test_result_of_an_earlier_call_is_dropped() -> None:
    slow = Slow()
    daemon = DaemonCall(slow, timeout_seconds=LONG_SECONDS)
    seen: list[int] = []

    async def call() -> None:
        seen.append(await daemon.call())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        assert slow.entered.wait(LONG_SECONDS)
        assert slow.begun == 1
        slow.gate.set()

    assert seen == [2]


async def test_each_caller_gets_its_own_call() -> None:
    slow = Slow()
    daemon = DaemonCall(slow, timeout_seconds=LONG_SECONDS)
    seen: list[int] = []

    async def call() -> None:
        seen.append(await daemon.call())

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(call)

        await anyio.wait_all_tasks_blocked()
        assert slow.entered.wait(LONG_SECONDS)
        assert slow.begun == 1
        slow.gate.set()

    assert seen == [1, 2, 3]


def test_process_exits_while_a_call_hangs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGING],
        capture_output=True,
        text=True,
        timeout=LONG_SECONDS,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == "No answer within 0.1 s.\nloop ended\n"
    assert done.stderr == ""


def test_call_that_ends_after_its_loop() -> None:
    """Its thread ends silently."""
    gate = Event()
    threads = []

    def call() -> None:
        threads.append(current_thread())
        gate.wait(LONG_SECONDS)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await DaemonCall(call, timeout_seconds=SHORT_SECONDS).call()

    anyio.run(main)
    gate.set()
    threads[0].join(LONG_SECONDS)

    assert not threads[0].is_alive()
