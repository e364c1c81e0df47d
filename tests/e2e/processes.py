"""`tandem` as users run it: in its own process, on a free port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import httpx

from tests import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TANDEM = (sys.executable, "-m", "service.cli.main")
PATIENCE_SECONDS = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server process; its log goes to a file."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def stop(self) -> int:
        """Stop it as Kubernetes does; return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def run_tandem(*args: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with its output as text."""
    return subprocess.run(
        [*TANDEM, *args], cwd=PROJECT, capture_output=True, text=True, check=False
    )


@contextmanager
def running(command: list[str], port: int, log: Path, **env: str) -> Iterator[Server]:
    """Run a server process; kill it at the end if it still runs."""
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            cwd=PROJECT,
            env=os.environ | env,
            # SIGHUP from a terminal means that it closes.
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        ) as process,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            yield Server(process=process, url=url, log=log)
        finally:
            process.kill()


async def first_answer(client: httpx.AsyncClient, path: str) -> httpx.Response:
    """Poll until the port is open, and return the answer."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while True:
            try:
                return await client.get(path)
            except httpx.TransportError:
                await anyio.sleep(0.05)


async def ready(client: httpx.AsyncClient) -> dict[str, Any]:
    """Wait for `/readyz` to be 200; return its body."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while True:
            response = await first_answer(client, "/readyz")

            if response.status_code == 200:
                document: dict[str, Any] = response.json()
                return document

            assert response.status_code == 503
            await anyio.sleep(0.05)
