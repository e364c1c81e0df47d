"""A rolling update behind a real load balancer, and no request fails."""

from __future__ import annotations

import asyncio
import subprocess
from collections import Counter
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from tests.e2e.processes import TANDEM, first_answer, free_port, ready, running
from tests.support.tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.processes import Server

pytestmark = pytest.mark.timeout(300)

CLIENTS = 8
REQUESTS = 3000
"""At least; the update may take longer."""

# It asks for readiness and never repeats a request, as a Service of Kubernetes doesn't.
HAPROXY = """
defaults
    mode http
    retries 0
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option http-keep-alive

frontend clients
    bind 127.0.0.1:{port}
    default_backend servers

backend servers
    option httpchk GET /readyz
    http-check expect status 200
    http-reuse always
    default-server check inter 100ms fall 1 rise 1
    server a 127.0.0.1:{a}
    server b 127.0.0.1:{b}
"""


@contextmanager
def balancing(folder: Path, a: int, b: int) -> Iterator[str]:
    """Run a balancer of two ports; yield its URL."""
    port, config = free_port(), folder / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=port, a=a, b=b))
    command = [find_tool("haproxy", "haproxy"), "-db", "-q", "-f", str(config)]

    with subprocess.Popen(command) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


class Pods:
    """Two servers, each on a port of its own, replaced one after the other."""

    def __init__(self, stock: Path, cache: Path, folder: Path, stack: ExitStack):
        self.ports = [free_port(), free_port()]
        self._stock, self._cache, self._folder = stock, cache, folder
        self._stack = stack
        self._servers: dict[int, Server] = {}

    async def start(self, port: int) -> None:
        """Start a server, and return when it is ready."""
        command = [*TANDEM, "serve", str(self._stock), "--port", str(port)]
        command += ["--cache-dir", str(self._cache), "--no-screen"]
        command += ["--data-dir", str(self._folder / str(port))]
        command += ["--drain-delay", "0.5", "--log-level", "warning"]
        log = self._folder / f"{port}.{len(self._servers)}.log"
        server = self._stack.enter_context(running(command, port, log))
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            await ready(client)

        self._servers[port] = server

    async def replace(self, port: int) -> int:
        """Stop a server as Kubernetes does, start the next; return the exit status."""
        status = await anyio.to_thread.run_sync(self._servers[port].stop)
        await self.start(port)
        return status


async def test_no_request_fails_while_servers_are_replaced_in_turn(
    stock: Path, cache: Path, tmp_path: Path
) -> None:
    found: Counter[str] = Counter()
    updated = asyncio.Event()

    async def ask(url: str) -> None:
        # One connection, kept by both sides as long as they can.
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as client:
            while not updated.is_set() or found.total() < REQUESTS:
                body = {"instances": [3.0]}
                response = await client.post("/v1/models/two:predict", json=body)
                answered = response.json().get("predictions") == [6.0]
                found["right" if answered else response.text] += 1

    with ExitStack() as stack:
        pods = Pods(stock, cache, tmp_path, stack)
        for port in pods.ports:
            await pods.start(port)

        url = stack.enter_context(balancing(tmp_path, *pods.ports))
        async with httpx.AsyncClient(base_url=url) as client:
            while (await first_answer(client, "/readyz")).status_code != 200:
                await anyio.sleep(0.05)

        async with anyio.create_task_group() as tasks:
            for _ in range(CLIENTS):
                tasks.start_soon(ask, url)

            statuses = [await pods.replace(port) for port in pods.ports]
            updated.set()

    assert statuses == [0, 0]
    assert found.total() >= REQUESTS
    assert found.keys() == {"right"}, found
