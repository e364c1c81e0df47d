"""The confinement of the compiler's child, tested by a child that tries to break it."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from inference.artifacts.child import run_child
from inference.artifacts.messages import CompileRequest
from tests.support.children import install_greedy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from inference.artifacts.messages import CompileEvent

    Run = Callable[..., Awaitable[CompileEvent]]

MIB = 2**20
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the kernel isn't Linux")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    folder = tmp_path / "place" / "artifact"
    folder.mkdir(parents=True)

    async def run(what: str, argument: object = "", **limits: int) -> CompileEvent:
        install_greedy(tmp_path, monkeypatch, what, argument)
        request = CompileRequest(
            path=str(tmp_path / "model.h5"),
            sidecar=None,
            folder=str(folder),
            memory_bytes=limits.get("memory_bytes", 512 * MIB),
            cpu_seconds=limits.get("cpu_seconds", 60),
        )
        return await run_child(request, lambda _: None)

    return run


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        socket.create_connection(("127.0.0.1", port)).close()
        yield port


@pytest.mark.parametrize(
    ("what", "limits", "said"),
    [
        pytest.param(
            "take_memory",
            {"memory_bytes": 512 * MIB},
            "Compiling model.h5 needs more than the 512.0 MiB of memory that the "
            "compiler may take. Allow it more with --compile-memory",
            id="memory",
        ),
        pytest.param(
            "fail_to_allocate",
            {},
            "needs more than the 512.0 MiB of memory",
            id="memory, in native code",
        ),
        pytest.param(
            "take_time",
            {"cpu_seconds": 1},
            "Compiling model.h5 took more than 1 s of CPU time. Give it more time with "
            "--compile-timeout",
            id="CPU time",
        ),
        pytest.param(
            "write_much",
            {"memory_bytes": 300 * MIB},
            "Compiling model.h5 writes a file larger than the 300.0 MiB that the "
            "compiler may take. Allow it more with --compile-memory",
            id="file size",
        ),
        pytest.param("open_many", {}, "more than 1024 open files", id="open files"),
    ],
)
async def test_exceeded_limit_is_reported(
    run: Run, what: str, limits: dict[str, int], said: str
) -> None:
    event = await run(what, 300 * MIB, **limits)

    assert said in (event.error or "")
    assert not event.lasting


async def test_work_within_limits_succeeds(run: Run) -> None:
    event = await run("write_much", 299 * MIB, memory_bytes=300 * MIB)

    assert event.error == "wrote"
    assert event.lasting


async def test_ctrl_c_is_ignored(run: Run) -> None:
    event = await run("interrupt")

    assert event.error == "went on"


@LINUX
async def test_network_is_unreachable(run: Run, listening: int) -> None:
    event = await run("connect", listening)

    assert event.error == "PermissionError"


@LINUX
async def test_writes_elsewhere_are_denied(run: Run, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "old").write_text("canary")
    _want_landlock()

    event = await run("write_elsewhere", elsewhere)

    # The last three are the scratch folder, the artifact's, and nowhere.
    refused = ["PermissionError"] * 4
    assert json.loads(event.error or "") == [*refused, "done", "done", "done"]
    assert [path.name for path in elsewhere.iterdir()] == ["old"]
    assert (elsewhere / "old").read_text() == "canary"


@LINUX
async def test_programs_cannot_be_started(run: Run) -> None:
    assert (await run("start_a_program")).error == "PermissionError"


@LINUX
async def test_server_cannot_be_signalled(run: Run) -> None:
    if _want_landlock() < 6:
        pytest.skip("this kernel's Landlock knows no signals")

    assert (await run("signal_the_parent")).error == "PermissionError"


@LINUX
async def test_privileges_are_dropped(run: Run) -> None:
    # What cannot be printed in an error is escaped.
    told = ((await run("tell_status")).error or "").encode().decode("unicode_escape")
    status = dict(line.split(":\t", 1) for line in told.splitlines())

    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert int(status["CapEff"], 16) & ~0b110 == 0
    assert int(status["CapPrm"], 16) & ~0b110 == 0


async def test_environment_is_minimal(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("HDF5_PLUGIN_PATH", "/plugins")
    monkeypatch.setenv("TF_XLA_FLAGS", "--dump")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["beside", "/absolute"]))
    monkeypatch.chdir(tmp_path)

    said = json.loads((await run("tell_surroundings")).error or "")
    place = tmp_path / "place"
    scratch = said.pop("cwd")

    assert Path(scratch).parent == place
    assert said["HOME"] == said["TMPDIR"] == scratch
    assert said["PYTHONPATH"].split(os.pathsep) == [
        str(tmp_path / "beside"),
        "/absolute",
    ]
    assert said["PATH"] == os.environ["PATH"]
    assert not {"AWS_SECRET_ACCESS_KEY", "HDF5_PLUGIN_PATH", "TF_XLA_FLAGS"} & set(said)
    assert [path.name for path in place.iterdir()] == ["artifact"]


def _want_landlock() -> int:
    from inference.compiler.sandbox.syscalls import syscall

    try:
        return syscall(444, None, 0, 1)
    except OSError as exc:
        pytest.skip(f"this kernel has no Landlock: {exc.strerror}")
