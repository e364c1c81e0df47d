"""Servers as processes of their own: pinned, awaited, ended with all they started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HOST = "127.0.0.1"
ROOT = Path(__file__).parents[2]
START_SECONDS = 180.0
STOP_SECONDS = 15.0
_ANSWER_SECONDS = 30.0
_POLL_SECONDS = 0.1
_SESSION, _USER, _SYSTEM = 3, 11, 12
"""Positions in what `_stat` gives."""


class NotReady(Exception):
    """A server that didn't come up; the text has the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A server that was started; `log` has what it wrote."""

    running: subprocess.Popen[bytes]
    log: Path

    def wait_ready(
        self, port: int, request: bytes, seconds: float = START_SECONDS
    ) -> bytes:
        """The body of the first 200 that `request` gets. Raises `NotReady`."""
        end = time.monotonic() + seconds
        last = ""

        while time.monotonic() < end and self.running.poll() is None:
            try:
                return _ask(port, request)
            except OSError as exc:
                last = str(exc)
                time.sleep(_POLL_SECONDS)

        text = self.log.read_text(errors="replace")
        raise NotReady(f"{self.log.stem} isn't ready ({last}):\n{text[-3000:]}")

    def cpu_seconds(self) -> float:
        """What it and all that it started have used, those that live."""
        fields = [_stat(process) for process in _session(self.running.pid)]
        ticks = sum(int(each[_USER]) + int(each[_SYSTEM]) for each in fields if each)
        return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def server_process(
    command: Sequence[str],
    cpus: Sequence[int],
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Process]:
    """Run `command` on `cpus` until the block ends, in a session of its own."""
    with log.open("wb") as output, ExitStack() as stack:
        with _pinned(cpus):
            running = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

        stack.callback(_stop, running)
        yield Process(running=running, log=log)


@contextmanager
def python_server(
    module: str, arguments: Sequence[str], cpus: Sequence[int], log: Path
) -> Iterator[Process]:
    """The same for a module of ours, run by this Python."""
    command = [sys.executable, "-m", module, *arguments]

    with server_process(command, cpus, log) as process:
        yield process


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, as far as one can know."""
    with ExitStack() as stack:
        listeners = [
            stack.enter_context(socket.create_server((HOST, 0))) for _ in range(count)
        ]
        return [listener.getsockname()[1] for listener in listeners]


@contextmanager
def _pinned(cpus: Sequence[int]) -> Iterator[None]:
    """A process begins on the CPUs of the thread that starts it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)

    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _ask(port: int, request: bytes) -> bytes:
    head, _, body = request.partition(b"\r\n\r\n")
    path = head.split(b" ", 2)[1].decode()
    asked = urllib.request.Request(
        f"http://{HOST}:{port}{path}", body, {"Content-Type": "application/json"}
    )

    with urllib.request.urlopen(asked, timeout=_ANSWER_SECONDS) as response:
        answer: bytes = response.read()
        return answer


def _stop(running: subprocess.Popen[bytes]) -> None:
    running.terminate()

    with suppress(subprocess.TimeoutExpired):
        running.wait(STOP_SECONDS)

    # Workers outlive some masters, with the port and the CPU.
    for process in _session(running.pid):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)

    running.wait()


def _session(leader: int) -> list[int]:
    """All processes of the session that `leader` began."""
    numbers = [int(each.name) for each in Path("/proc").glob("[0-9]*")]
    return [
        number
        for number in numbers
        if (fields := _stat(number)) and int(fields[_SESSION]) == leader
    ]


def _stat(process: int) -> list[str]:
    """What follows the name in `/proc/PID/stat`; nothing once it has ended."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return []

    # The name before it, in brackets, may have blanks.
    return text.rpartition(") ")[2].split()
