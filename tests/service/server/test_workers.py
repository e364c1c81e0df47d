"""Workers that crash, are replaced, and end with their parent; real processes."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests import PROJECT
from tests.e2e.processes import free_port
from tests.support.children import is_alive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMAND = (sys.executable, "-m", "tests.support.light_workers")
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A parent of workers, and the folder that steers them."""

    parent: subprocess.Popen[bytes]
    port: int
    folder: Path
    log: Path

    def ask(self, path: str = "/") -> dict[str, Any]:
        """Return the answer on a new connection. Raise `OSError` if there is none."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            client.request("GET", path)
            document: dict[str, Any] = json.load(client.getresponse())
            return document
        finally:
            client.close()

    def serving(self) -> set[int]:
        """Return the processes that answer, of all workers that serve."""
        return {self.ask()["pid"] for _ in range(40)}

    def let_go(self) -> None:
        (self.folder / "go").touch()


@contextmanager
def workers(folder: Path, count: int = 2) -> Iterator[Site]:
    port = free_port()
    command = [*COMMAND, str(folder), str(port), str(count)]

    log = folder / "log"

    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, cwd=PROJECT, stdin=subprocess.DEVNULL, stderr=output
        ) as parent,
    ):
        try:
            yield Site(parent=parent, port=port, folder=folder, log=log)
        finally:
            parent.kill()


def eventually(condition: Any) -> Any:
    """Return the condition's value once it is true; a refused connection isn't."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        try:
            if value := condition():
                return value
        except OSError:
            pass

        time.sleep(0.02)

    raise AssertionError("it never came true")


def both(site: Site) -> Any:
    found = site.serving()
    return found if len(found) == 2 else None


def test_workers_are_replaced_and_end_with_their_parent(tmp_path: Path) -> None:
    with workers(tmp_path) as site:
        first = eventually(lambda: both(site))

        # One crashes: the other answers all, until the new one is ready.
        with pytest.raises(OSError):
            site.ask("/crash")

        (survivor,) = eventually(lambda: len(found := site.serving()) == 1 and found)
        assert survivor in first
        assert {site.ask()["pid"] for _ in range(200)} == {survivor}
        site.let_go()
        second = eventually(lambda: both(site))
        assert survivor in second

        # A hang-up whose settings are wrong replaces nobody.
        (tmp_path / "stay").touch()
        site.parent.send_signal(signal.SIGHUP)
        eventually((tmp_path / "asked").exists)
        assert both(site) == second

        # A hang-up replaces both, one by one, and no request fails.
        site.parent.send_signal(signal.SIGHUP)
        third = eventually(lambda: not site.serving() & second and both(site))
        eventually(lambda: not any(map(is_alive, second)))

        # The parent is killed: the workers and the port are free.
        site.parent.kill()
        site.parent.wait()
        eventually(lambda: not any(map(is_alive, third)))
        with pytest.raises(ConnectionRefusedError):
            site.ask()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_workers_with_status_0(
    tmp_path: Path, number: signal.Signals
) -> None:
    with workers(tmp_path) as site:
        pids = eventually(lambda: both(site))
        # Ctrl-C reaches the whole group.
        group = pids if number == signal.SIGINT else ()
        for pid in (*group, site.parent.pid):
            os.kill(pid, number)

        assert site.parent.wait(PATIENCE_SECONDS) == 0
        assert not any(map(is_alive, pids))


def test_a_second_signal_ends_all_workers_at_once(tmp_path: Path) -> None:
    with workers(tmp_path) as site:
        stopped, other = eventually(lambda: both(site))
        os.kill(stopped, signal.SIGSTOP)
        site.parent.send_signal(signal.SIGTERM)
        eventually(lambda: not is_alive(other))
        site.parent.send_signal(signal.SIGTERM)

        assert site.parent.wait(PATIENCE_SECONDS) == 128 + signal.SIGTERM
        eventually(lambda: not is_alive(stopped))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_a_single_process_at_once(
    tmp_path: Path, number: signal.Signals
) -> None:
    with workers(tmp_path, 0) as site:
        pid = eventually(site.ask)["pid"]
        assert pid == site.parent.pid
        # Ignored without a terminal, and nothing is lost.
        os.kill(pid, signal.SIGHUP)
        assert site.ask()["pid"] == pid

        with socket.create_connection(("127.0.0.1", site.port)) as upload:
            upload.sendall(b"POST /upload HTTP/1.1\r\nContent-Length: 9\r\n\r\nx")
            assert upload.recv(1)
            os.kill(pid, number)
            eventually(lambda: refused(site))
            os.kill(pid, number)
            assert site.parent.wait(PATIENCE_SECONDS) == 128 + number

    assert "Traceback" not in site.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_single_process_with_status_0(
    tmp_path: Path, number: signal.Signals
) -> None:
    with workers(tmp_path, 0) as site:
        eventually(site.ask)
        os.kill(site.parent.pid, number)
        assert site.parent.wait(PATIENCE_SECONDS) == 0

    assert "Traceback" not in site.log.read_text()


def refused(site: Site) -> bool:
    try:
        socket.create_connection(("127.0.0.1", site.port), timeout=30).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        # It was closed meanwhile.
        return False

    return False


def test_workers_that_cannot_start_end_their_parent(tmp_path: Path) -> None:
    (tmp_path / "fail").touch()

    with workers(tmp_path) as site:
        assert site.parent.wait(PATIENCE_SECONDS) == 3


def test_a_worker_whose_loop_is_stuck_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIGHT_SILENCE", "4")

    with workers(tmp_path) as site:
        site.let_go()
        first = eventually(lambda: both(site))

        # Its client waits until the process is killed.
        with pytest.raises(OSError):
            site.ask("/stuck")

        second = eventually(lambda: both(site))
        assert len(first & second) == 1
