"""A real Redis, which tests start, stop and start again."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from redis import Redis
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = "redis-server"
POLL_SECONDS = 0.02
PATIENCE_SECONDS = 60.0


class RedisServer:
    """A Redis of its own folder and port, which it has again after a stop."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(
            [
                *(PROGRAM, "--port", str(self._port), "--bind", "127.0.0.1"),
                *("--dir", str(self._folder), "--save", "", "--appendonly", "yes"),
                # Each second isn't enough: while a sync runs, Redis answers before it
                # has written, and a kill loses what it has answered.
                *("--appendfsync", "always"),
                *("--logfile", str(self._folder / "redis.log")),
            ]
        )
        ends = time.monotonic() + PATIENCE_SECONDS

        with Redis.from_url(self.url) as client:
            while not _answers(client):
                assert self._process.poll() is None, self._log()
                assert time.monotonic() < ends, self._log()
                time.sleep(POLL_SECONDS)

    def kill(self) -> None:
        """Stop it without a farewell, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _log(self) -> str:
        return (self._folder / "redis.log").read_text()


@contextmanager
def running_redis(folder: Path) -> Iterator[RedisServer]:
    """Run a Redis. Skip the test where there is none, but not in CI."""
    if shutil.which(PROGRAM) is None:
        reason = f"there is no {PROGRAM}; on Debian: apt-get install redis-server"

        if os.environ.get("CI"):
            pytest.fail(reason)

        pytest.skip(reason)

    folder.mkdir(parents=True, exist_ok=True)
    server = RedisServer(folder)

    try:
        server.start()
        yield server
    finally:
        server.kill()


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        # Not yet, or it still reads what it has kept.
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
