"""Real clients and a real proxy: Java's, nginx."""

from __future__ import annotations

import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from service.server.limits import ConnectionLimits
from service.server.protocol import JsonErrorProtocol
from tests import PROJECT
from tests.e2e.processes import first_answer, free_port
from tests.service.server.test_connection import echo
from tests.service.server.test_protocol import read_answer
from tests.support.protocol_servers import connect, listening
from tests.support.tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IDLE_SECONDS = 0.4
"""The time for which the proxy keeps an idle connection to the server."""

JAVA_CLIENT = PROJECT / "tests" / "support" / "OfferUpgrade.java"

NGINX = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream server {{
        server 127.0.0.1:{upstream};
        keepalive 64;
        keepalive_timeout {idle_ms}ms;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://server;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            # As for any POST: never sent twice.
            proxy_next_upstream off;
        }}
    }}
}}
"""


@pytest.mark.parametrize("characters", [20, 200_000])
def test_java_sends_bodies_with_its_offer_of_http2(characters: int) -> None:
    java = find_tool("java", "default-jdk-headless")

    with listening(echo) as (host, port):
        url = f"http://{host}:{port}/v1/models/m:predict"
        done = subprocess.run(
            [java, "-Xshare:auto", str(JAVA_CLIENT), url, "3", str(characters)],
            capture_output=True,
            text=True,
            check=False,
        )

    answers = [line.split() for line in done.stdout.splitlines()]
    assert [status for status, _ in answers] == ["200"] * 3, done.stderr
    assert all(int(length) > characters for _, length in answers)


@contextmanager
def nginx(folder: Path, upstream: int) -> Iterator[str]:
    """Run a proxy that keeps its connections to a server; yield its URL."""
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(
        NGINX.format(
            folder=folder,
            upstream=upstream,
            port=port,
            idle_ms=round(IDLE_SECONDS * 1000),
        )
    )
    command = [find_tool("nginx", "nginx-light"), "-p", str(folder), "-c", str(config)]

    with subprocess.Popen([*command, "-e", "stderr"]) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def test_no_request_meets_a_closing_connection_behind_a_proxy(tmp_path: Path) -> None:
    """Also if the event loop is busy until the server's idle time is over."""
    # Those of the defaults: 75 s, and nginx' own 60 s.
    ratio = ConnectionLimits().keep_alive_seconds / 60
    limits = ConnectionLimits(keep_alive_seconds=IDLE_SECONDS * ratio)

    with (
        listening(echo, limits, protocol=Blocking) as address,
        nginx(tmp_path, address[1]) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        anyio.run(wait_for, url)
        statuses = []

        for _ in range(3):
            statuses.append(client.post("/a", content=b"x").status_code)
            time.sleep(0.8 * IDLE_SECONDS)
            with connect(address) as other:
                other.sendall(b"GET /block HTTP/1.1\r\nHost: x\r\n\r\n")
                statuses.append(client.post("/a", content=b"x").status_code)
                read_answer(other)

    assert statuses == [200] * 6


class Blocking(JsonErrorProtocol):
    """Holds the event loop while a request arrives."""

    def begin_request(self) -> None:
        if self.url == b"/block":
            time.sleep(0.7 * IDLE_SECONDS)

        super().begin_request()


async def wait_for(url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        await first_answer(client, "/a")
