from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from benchmarks.load.peers import environments
from benchmarks.load.plot_style import COLOURS
from benchmarks.load.process import NotReady, free_ports, server_process
from benchmarks.load.servers import NAMES, PEERS

if TYPE_CHECKING:
    from pathlib import Path

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
PARENT = """\
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


@linux
def test_a_server_is_pinned_and_ends_with_what_it_started(tmp_path: Path) -> None:
    [cpu, *_] = sorted(os.sched_getaffinity(0))
    log = tmp_path / "log"

    with server_process([sys.executable, "-c", PARENT], [cpu], log) as process:
        while not (text := log.read_text()).endswith("\n"):
            time.sleep(0.01)

        assert os.sched_getaffinity(int(text)) == {cpu}
        assert process.cpu_seconds() > 0

    with pytest.raises(ProcessLookupError):
        while True:
            os.kill(int(text), signal.SIG_DFL)
            time.sleep(0.01)


@linux
def test_a_server_that_ends_isnt_waited_for(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such model')"]
    [port] = free_ports(1)

    with (
        server_process(command, sorted(os.sched_getaffinity(0)), tmp_path / "s") as one,
        pytest.raises(NotReady, match="no such model"),
    ):
        one.wait_ready(port, b"POST / HTTP/1.1\r\n\r\n{}")


def test_every_server_has_a_colour() -> None:
    assert set(COLOURS) == set(NAMES)


def test_a_peer_is_there_when_its_environment_is(tmp_path: Path) -> None:
    peer = next(peer for peer in PEERS if peer.environment == "litserve")
    assert not peer.available(tmp_path)

    (tmp_path / "litserve").mkdir()
    (tmp_path / "litserve" / "ready").touch()
    assert peer.available(tmp_path)


def test_every_environment_has_requirements() -> None:
    found = {path.stem for path in environments.REQUIREMENTS.glob("*.txt")}
    assert found == set(environments.NAMES)
    assert {peer.environment for peer in PEERS} - {None} <= found
