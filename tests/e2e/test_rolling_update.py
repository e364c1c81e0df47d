"""Servers and versions replaced behind a real load balancer: no request fails."""

from __future__ import annotations

import asyncio
import shutil
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
REQUESTS = 1000
"""At least; the update may take longer."""
SWAPS = 2

WHOLE = "/whole"
"""The balancer's own URL: 200 while it sends requests to both servers."""

# It asks for readiness and never repeats a request, as a Service of Kubernetes doesn't.
HAPROXY = """
defaults
    mode http
    retries 0
    timeout connect 5s
    timeout check 10s
    timeout client 60s
    timeout server 60s
    option http-keep-alive

frontend clients
    bind 127.0.0.1:{port}
    default_backend servers
    monitor-uri {whole}
    monitor fail if {{ nbsrv(servers) lt 2 }}

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
    config.write_text(HAPROXY.format(port=port, a=a, b=b, whole=WHOLE))
    command = [find_tool("haproxy", "haproxy"), "-db", "-q", "-f", str(config)]

    with subprocess.Popen(command) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


async def until_whole(url: str) -> None:
    """Wait until the balancer knows that both servers are ready."""
    async with httpx.AsyncClient(base_url=url) as client:
        while (await first_answer(client, WHOLE)).status_code != 200:
            await anyio.sleep(0.05)


class Pods:
    """Two servers, each on a port of its own, replaced one after the other."""

    def __init__(self, models: Path, cache: Path, folder: Path, stack: ExitStack):
        self.ports = [free_port(), free_port()]
        self._models, self._cache, self._folder = models, cache, folder
        self._stack = stack
        self._servers: dict[int, Server] = {}

    async def start(self, port: int) -> None:
        """Start a server, and return when it is ready."""
        command = [*TANDEM, "serve", str(self._models), "--port", str(port)]
        command += ["--cache-dir", str(self._cache), "--no-screen"]
        command += ["--data-dir", str(self._folder / str(port))]
        command += ["--drain-delay", "0.5", "--log-level", "warning"]
        command += ["--scan-seconds", "0.2"]
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

    async def serve(self, version: int) -> None:
        """Return when each has nothing but this version of the model."""
        for port in self.ports:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                while await served(client) != [(version, "AVAILABLE")]:
                    await anyio.sleep(0.05)


async def served(client: httpx.AsyncClient) -> list[tuple[int, str]]:
    found = (await client.get("/v1/models/model")).json()["model_version_status"]
    return [(int(each["version"]), each["state"]) for each in found]


def bring(stock: Path, models: Path, version: int) -> None:
    """Put a version in place in one step: even ones double, odd ones triple."""
    hidden = models / "model" / f".{version}"
    hidden.mkdir(parents=True)
    shutil.copy(stock / ("three.pb" if version % 2 else "two.pb"), hidden / "model.pb")
    hidden.rename(hidden.with_name(str(version)))


async def test_no_request_fails_while_servers_and_versions_are_replaced(
    stock: Path, cache: Path, tmp_path: Path
) -> None:
    found: Counter[str] = Counter()
    statuses: list[int] = []
    updated = asyncio.Event()
    models = tmp_path / "models"
    bring(stock, models, 1)

    async def ask(url: str) -> None:
        # One connection, kept by both sides as long as they can.
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as client:
            while not updated.is_set() or found.total() < REQUESTS:
                body = {"instances": [3.0]}
                response = await client.post("/v1/models/model:predict", json=body)
                odd = int(response.headers.get("X-Model-Version", 0)) % 2
                expected = {"predictions": [9.0 if odd else 6.0]}
                # The balancer's own answers aren't JSON.
                right = response.is_success and response.json() == expected
                found["right" if right else response.text] += 1
                # Leave the CPUs to the servers that start.
                await anyio.sleep(0.01)

    with ExitStack() as stack:
        pods = Pods(models, cache, tmp_path, stack)
        for port in pods.ports:
            await pods.start(port)

        url = stack.enter_context(balancing(tmp_path, *pods.ports))
        await until_whole(url)

        async with anyio.create_task_group() as tasks:
            for _ in range(CLIENTS):
                tasks.start_soon(ask, url)

            for port in pods.ports:
                statuses.append(await pods.replace(port))
                await until_whole(url)

            for version in range(2, 2 + SWAPS):
                bring(stock, models, version)
                shutil.rmtree(models / "model" / str(version - 1))
                await pods.serve(version)

            updated.set()

    assert statuses == [0, 0]
    assert found.total() >= REQUESTS
    assert found.keys() == {"right"}, found
