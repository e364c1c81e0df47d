"""A server whose log nobody reads, or whose reader has gone."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from tests import PROJECT
from tests.e2e.processes import TANDEM, free_port, ready

if TYPE_CHECKING:
    from pathlib import Path

# Twice as many lines: more than the smallest pipe holds.
REQUESTS = 40
PIPE_BYTES = 4096
DROPPED = re.compile(r"tandem_log_lines_dropped_total (\d\S*)")

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="makes a pipe small"),
    pytest.mark.timeout(300),
]


def test_no_request_fails_for_a_log_that_cannot_be_written(
    stock: Path, cache: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copy(stock / "one.pb", folder)
    port = free_port()
    command = [*TANDEM, "serve", str(folder), "--port", str(port), "--screen"]
    command += ["--cache-dir", str(cache), "--data-dir", str(tmp_path / "data")]
    reader, target = os.pipe()
    fcntl.fcntl(target, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    with subprocess.Popen(command, cwd=PROJECT, stderr=target) as process:
        os.close(target)
        try:
            url = f"http://127.0.0.1:{port}"
            anyio.run(wait_until_ready, url)
            with httpx.Client(base_url=url, timeout=30) as client:
                # The pipe is full now, and nobody reads.
                assert ask(client) == {200, 404}
                assert dropped(client) == 0

                os.close(reader)
                assert ask(client) == {200, 404}
                assert dropped(client) > 0

            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()


async def wait_until_ready(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        await ready(client)


def ask(client: httpx.Client) -> set[int]:
    """Return the statuses of many requests, good and bad."""
    found = set()
    for _ in range(REQUESTS):
        good = client.post("/v1/models/one:predict", json={"instances": [1.0]})
        bad = client.post("/v1/models/absent:predict", json={"instances": [1]})
        found |= {good.status_code, bad.status_code}

    return found


def dropped(client: httpx.Client) -> float:
    match = DROPPED.search(client.get("/metrics").text)
    assert match is not None
    return float(match[1])
