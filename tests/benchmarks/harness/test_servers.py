from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from benchmarks import peers
from benchmarks.harness.exchanges import Exchange
from benchmarks.harness.servers import NotReady, free_port, serving, states
from benchmarks.load.contenders import PEERS

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.load.contenders import Contender

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
PARENT = """\
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


ASK = Exchange(name="ask", path="/", right=bool)


@linux
def test_a_server_is_pinned_and_ends_with_its_children(tmp_path: Path) -> None:
    [cpu, *_] = sorted(os.sched_getaffinity(0))
    log = tmp_path / "log"

    with serving([sys.executable, "-c", PARENT], 0, log, cpus=[cpu]) as server:
        while not (text := log.read_text()).endswith("\n"):
            time.sleep(0.01)

        assert os.sched_getaffinity(int(text)) == {cpu}
        assert server.cpu_seconds() > 0

    with pytest.raises(ProcessLookupError):
        while True:
            os.kill(int(text), signal.SIG_DFL)
            time.sleep(0.01)


@linux
def test_an_ended_server_isnt_waited_for(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such model')"]

    with (
        serving(command, free_port(), tmp_path / "s") as server,
        pytest.raises(NotReady, match="no such model"),
    ):
        server.wait_ready(ASK)


def test_states_are_those_of_one_model() -> None:
    versions = [
        {"version": "1", "state": "AVAILABLE"},
        {"version": "2", "state": "LOADING"},
    ]
    document = {
        "models": [
            {"name": "other", "versions": [{"version": "9", "state": "END"}]},
            {"name": "asked", "versions": versions},
        ]
    }

    assert states(document, "asked") == {1: "AVAILABLE", 2: "LOADING"}
    assert states(document, "absent") == {}


def test_a_peer_is_there_when_its_environment_is(tmp_path: Path) -> None:
    peer = next(peer for peer in PEERS if peer.environment == "litserve")
    assert not peer.available(tmp_path)

    (tmp_path / "litserve").mkdir()
    (tmp_path / "litserve" / "ready").touch()
    assert peer.available(tmp_path)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_every_environment_has_requirements(peer: Contender) -> None:
    assert not peer.environment or peers.REQUIREMENTS[peer.environment]


def test_a_peers_version_is_that_of_its_package(tmp_path: Path) -> None:
    packages = tmp_path / "triton" / "lib" / "python3.11" / "site-packages"
    (packages / "nvidia_pytriton-0.7.0.dist-info").mkdir(parents=True)

    assert peers.version(tmp_path, "triton") == "0.7.0"
    assert peers.version(tmp_path, "litserve") == ""
