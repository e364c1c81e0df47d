"""A real server of ours in a process of its own: `uvicorn asgi:app`."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"
START_SECONDS = 300.0
STOP_SECONDS = 30.0
_POLL_SECONDS = 0.1
GAUGES = {"running", "waiting", "queued", "orphans", "leases", "tokens"}
"""What is there only while a request is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Threads, and bytes of resident memory."""

    threads: int
    resident: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that has loaded its models."""

    process: subprocess.Popen[bytes]
    port: int

    def size(self) -> Size:
        """What the kernel says of the server's process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        fields = dict(re.findall(r"^(Threads|VmRSS):\s+(\d+)", status, re.MULTILINE))
        return Size(
            threads=int(fields["Threads"]), resident=int(fields["VmRSS"]) * 1024
        )

    def load(self) -> dict[str, int]:
        """What all models together still hold, by name: `running`, `waiting`, …

        Empty when the server doesn't tell.
        """
        document = httpx.get(f"http://{HOST}:{self.port}/v1/models").json()
        return dict(loads_of(document))


@contextmanager
def serving(repository: Path, cache: Path, log: Path) -> Iterator[Server]:
    """Serve `repository` until the block ends; `log` takes what the server writes.

    Raises `RuntimeError`, with the end of the log, when it doesn't come up.
    """
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", "asgi:app", "--no-access-log"]
    command += ["--host", HOST, "--port", str(port)]
    given = {"TANDEM_MODELS": str(repository), "TANDEM_CACHE_DIR": str(cache)}

    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, env=os.environ | given, stdout=output, stderr=output
        ) as process,
    ):
        try:
            _wait_ready(process, port, log)
            yield Server(process=process, port=port)
        finally:
            _stop(process)


def loads_of(document: Any) -> Counter[str]:
    """The gauges of every `load` in a document, summed by name."""
    sums: Counter[str] = Counter()

    if isinstance(document, list):
        for each in document:
            sums.update(loads_of(each))

    if isinstance(document, dict):
        for name, value in document.items():
            sums.update(_counts(value) if name == "load" else loads_of(value))

    return sums


def _counts(load: Any) -> dict[str, int]:
    """Its gauges, without its limits and averages."""
    return {name: value for name, value in load.items() if name in GAUGES}


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + START_SECONDS

    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(f"http://{HOST}:{port}/readyz").is_success:
                return
        except httpx.TransportError:
            pass

        time.sleep(_POLL_SECONDS)

    raise RuntimeError(f"The server isn't ready:\n{log.read_text()[-4000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()

    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
