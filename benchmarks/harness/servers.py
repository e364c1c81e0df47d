"""Servers as processes: started, pinned, awaited, ended with all that they started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from benchmarks.harness.clocks import wait_until
from benchmarks.harness.exchanges import READY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.harness.exchanges import Exchange

HOST = "127.0.0.1"
ROOT = Path(__file__).parents[2]
START_SECONDS = 300.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.02
_ANSWER_SECONDS = 30.0
_LOG_BYTES = 4000
_SESSION, _USER, _SYSTEM = 3, 11, 12
"""Positions in the fields that `_stat` returns."""


class NotReady(Exception):
    """A server that didn't come up; the text has the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A process that listens on `port` and writes to `log`."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def wait_ready(self, exchange: Exchange = READY) -> None:
        """Repeat a request until it gets a 200. Raises `NotReady`."""
        ready = wait_until(
            lambda: self._ended() or self._answers(exchange),
            START_SECONDS,
            every=POLL_SECONDS,
        )

        if self._ended() or not ready:
            text = self.log.read_text(errors="replace")[-_LOG_BYTES:]
            raise NotReady(f"{self.log.stem} isn't ready:\n{text}")

    def get(self, path: str) -> httpx.Response:
        """Fetch what must be there."""
        return httpx.get(self.url + path).raise_for_status()

    def cpu_seconds(self) -> float:
        """Return the CPU time of the server and its living children."""
        fields = [_stat(process) for process in _session(self.process.pid)]
        ticks = sum(int(each[_USER]) + int(each[_SYSTEM]) for each in fields if each)
        return ticks / os.sysconf("SC_CLK_TCK")

    def _ended(self) -> bool:
        return self.process.poll() is not None

    def _answers(self, exchange: Exchange) -> bool:
        url = self.url + exchange.path
        headers = {"Content-Type": "application/json"}

        with suppress(httpx.TransportError):
            response = httpx.request(
                exchange.method,
                url,
                content=exchange.body,
                headers=headers,
                timeout=_ANSWER_SECONDS,
                # Making what HTTPS needs would take milliseconds a poll.
                verify=False,
            )
            return response.status_code == httpx.codes.OK

        return False


@contextmanager
def serving(
    command: Sequence[str],
    port: int,
    log: Path,
    *,
    cpus: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Run `command`, which listens on `port`, in its own session until the block ends.

    It may use `cpus`, or all if there are none.
    """
    with log.open("wb") as output, ExitStack() as stack:
        with _pinned(cpus):
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

        stack.callback(_stop, process)
        yield Server(process=process, port=port, log=log)


@contextmanager
def serving_models(
    folder: Path, *flags: str, cpus: Sequence[int] = ()
) -> Iterator[Server]:
    """Run our server with the models in `folder`, ready, on a free port.

    Artifacts and log are kept beside them; see `serving`.
    """
    port = free_port()
    command = tandem(folder / "models", folder / "cache", port, *flags)

    with serving(command, port, folder / "server.log", cpus=cpus) as server:
        server.wait_ready()
        yield server


def states(document: Any, model: str) -> dict[int, str]:
    """Return the states of a model's versions, as `/v1/models` has them."""
    return {
        int(version["version"]): version["state"]
        for each in document["models"]
        if each["name"] == model
        for version in each["versions"]
    }


def tandem(repository: Path, cache: Path, port: int, *flags: str) -> list[str]:
    """Return the command that serves a folder of models with our server."""
    return [
        *(sys.executable, "-m", "service.cli.main", "serve", str(repository)),
        *("--host", HOST, "--port", str(port), "--cache-dir", str(cache), *flags),
    ]


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        listeners = [
            stack.enter_context(socket.create_server((HOST, 0))) for _ in range(count)
        ]
        return [listener.getsockname()[1] for listener in listeners]


def free_port() -> int:
    return free_ports(1)[0]


@contextmanager
def _pinned(cpus: Sequence[int]) -> Iterator[None]:
    # A process begins on the CPUs of the thread that starts it.
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus or before)

    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()

    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)

    # Workers outlive some masters, with the port and the CPU.
    for member in _session(process.pid):
        with suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)

    process.wait()


def _session(leader: int) -> list[int]:
    """List the processes of the session that `leader` began."""
    numbers = [int(each.name) for each in Path("/proc").glob("[0-9]*")]
    return [
        number
        for number in numbers
        if (fields := _stat(number)) and int(fields[_SESSION]) == leader
    ]


def _stat(process: int) -> list[str]:
    """Return the fields after the name in `/proc/PID/stat`; none once it has ended."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return []

    # The name before them, in brackets, may have blanks.
    return text.rpartition(") ")[2].split()
