"""Each part of the confinement alone, since the others could hide its failure."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the kernel isn't Linux"
)

CONNECT = """
import errno, socket, sys

def connect():
    try:
        socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5).close()
    except OSError as exc:
        return errno.errorcode[exc.errno]
    return "connected"

def raise_wall():
    try:
        wall()
    except OSError as exc:
        print("refused", errno.errorcode[exc.errno])
        sys.exit()

from inference.compiler.sandbox.syscalls import PR_SET_NO_NEW_PRIVS, prctl
prctl(PR_SET_NO_NEW_PRIVS, 1)
"""
NAMESPACE = "from inference.compiler.sandbox.confinement import isolate_network as wall"
FILTER = "from inference.compiler.sandbox.seccomp import refuse_calls as wall"
LANDLOCK = """
from inference.compiler.sandbox.landlock import restrict
wall = lambda: restrict([])
"""


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number: int = server.getsockname()[1]
        yield number


def run(*parts: str, argument: object) -> list[str]:
    """Return the program's output; skip if the kernel refuses the restriction."""
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(parts), str(argument)],
        capture_output=True,
        text=True,
        check=True,
    )
    words = done.stdout.split()

    if "refused" in words:
        pytest.skip(f"the kernel refuses: {words[-1]}")

    return words


@pytest.mark.parametrize(
    ("wall", "how"),
    [
        pytest.param(NAMESPACE, {"ENETUNREACH", "ECONNREFUSED"}, id="namespace"),
        pytest.param(FILTER, {"EPERM"}, id="filter"),
    ],
)
def test_no_network(wall: str, how: set[str], port: int) -> None:
    program = "print(connect()); raise_wall(); print(connect())"

    before, after = run(CONNECT, wall, program, argument=port)

    assert before == "connected"
    assert after in how


def test_landlock_denies_writes(tmp_path: Path) -> None:
    program = """
from pathlib import Path
file = Path(sys.argv[1], "file")
file.write_text("before")
raise_wall()
try:
    file.write_text("after")
except PermissionError as exc:
    print(file.read_text())
"""
    assert run(CONNECT, LANDLOCK, program, argument=tmp_path) == ["before"]


def test_refused_restrictions_are_reported() -> None:
    """A process under the filter may not leave its network namespace."""
    program = """
import os, resource
from inference.compiler.sandbox import confinement
from inference.compiler.sandbox import syscalls
from inference.artifacts.messages import CompileRequest

def refuse(*arguments):
    raise PermissionError(errno.EPERM, "no")

syscalls.unshare = syscalls.syscall = refuse
os.chdir(sys.argv[1])
request = CompileRequest(path="a", sidecar=None, folder=sys.argv[1])
print(*confinement.confine(request), sep="; ")
"""
    words = " ".join(run(CONNECT, program, argument="/"))

    assert "a network of its own: EPERM" in words
    assert "files for reading only (Landlock): EPERM" in words
    assert "seccomp" not in words
