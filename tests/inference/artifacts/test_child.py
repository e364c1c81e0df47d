"""The compiler's child and the process that started it: each may be killed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from inference.artifacts import child
from inference.artifacts.builder import ArtifactBuilder
from inference.artifacts.cache import ArtifactCache
from inference.artifacts.child import compiler_environment
from inference.artifacts.messages import CompileRequest
from inference.errors import InvalidModel, LoadFailed
from inference.repository.digest import digest_file
from inference.repository.scan import ModelFiles
from inference.types import ModelId
from tests.support.children import Child, install_copy, install_greedy, put

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.compiled_cases import CompiledCases

PARENT = """
import sys
import anyio
from inference.artifacts.messages import CompileRequest
from inference.artifacts.child import run_child

sys.executable, folder = sys.argv[1:]
request = CompileRequest(path="model.h5", sidecar=None, folder=folder)
anyio.run(run_child, request, lambda pid: print(pid, flush=True))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel isn't Linux")
def test_the_child_ends_with_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = sys.executable
    install_greedy(tmp_path, monkeypatch, "wait")
    (tmp_path / "artifact").mkdir()
    command = [python, "-c", PARENT, sys.executable, str(tmp_path / "artifact")]

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        assert not _has_ended(child, seconds=0)
        parent.kill()
        parent.wait()

        assert _has_ended(child, seconds=60)

    os.close(child)


def _has_ended(process: int, *, seconds: float) -> bool:
    ready, _, _ = select.select([process], [], [], seconds)
    return bool(ready)


async def test_next_build_succeeds_after_a_killed_child(
    compiled: CompiledCases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = compiled.case("h5_two_in_two_out").path
    files = ModelFiles(id=ModelId("model", 1), path=path)
    cache = ArtifactCache(tmp_path / "cache")
    builder = ArtifactBuilder(cache, timeout_seconds=100)

    def kill(stage: str) -> None:
        if stage.isdigit():
            os.kill(int(stage), signal.SIGKILL)

    with monkeypatch.context() as patch:
        install_greedy(tmp_path, patch, "wait")

        with pytest.raises(
            LoadFailed,
            match=r"was killed while reading model\.h5, as the system does when memory",
        ):
            await builder.build(files, kill)

    assert list(cache.folder.iterdir()) == []
    install_copy(tmp_path, monkeypatch, compiled.artifact("h5_two_in_two_out"))
    assert (await builder.build(files, lambda _: None)).fresh
    assert len(list(cache.folder.iterdir())) == 1


async def test_cached_artifact_is_verified_against_checksums(
    compiled: CompiledCases, tmp_path: Path
) -> None:
    case = compiled.case("h5_two_in_two_out").path
    path = tmp_path / "model.h5"
    path.write_bytes(case.read_bytes())
    sums = tmp_path / "SHA256SUMS"
    files = ModelFiles(id=ModelId("model", 1), path=path, sums=sums)
    cache = ArtifactCache(tmp_path / "cache")
    put(cache, files, compiled.artifact("h5_two_in_two_out"))
    builder = ArtifactBuilder(cache, timeout_seconds=100)
    sums.write_text(f"{digest_file(path)}  model.h5\n")

    found = await builder.build(files, lambda _: None)
    assert (found.fresh, found.integrity) == (False, "verified")

    found = await builder.build(replace(files, sums=None), lambda _: None)
    assert (found.fresh, found.integrity) == (False, "unverified")

    sums.write_text(f"{'0' * 64}  model.h5\n")

    with pytest.raises(InvalidModel, match=r"model\.h5 isn't what SHA256SUMS says"):
        await builder.build(files, lambda _: None)


def test_environment_has_only_listed_variables(tmp_path: Path) -> None:
    given = {"PATH": "/bin", "GITHUB_TOKEN": "x", "LD_PRELOAD": "x", "KERAS_HOME": "x"}

    assert compiler_environment(tmp_path, threads=3, given=given) == {
        "PATH": "/bin",
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "MKL_NUM_THREADS": "3",
        "OMP_NUM_THREADS": "3",
        "OPENBLAS_NUM_THREADS": "3",
        "TF_NUM_INTEROP_THREADS": "3",
        "TF_NUM_INTRAOP_THREADS": "3",
    }


async def test_child_with_an_endless_line_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "MAX_EVENT", 10_000)
    Child(folder=tmp_path).install(monkeypatch, "exec tr '\\0' x < /dev/zero")
    (tmp_path / "artifact").mkdir()
    folder = str(tmp_path / "artifact")
    request = CompileRequest(path="model.h5", sidecar=None, folder=folder)

    event = await child.run_child(request, lambda _: None)

    assert event.error is not None
    assert "longer than" in event.error


async def test_invalid_message_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Child(folder=tmp_path).install(monkeypatch, """echo '{"stoge": "x"}'""")
    path = tmp_path / "model.h5"
    path.write_bytes(b"x")
    files = ModelFiles(id=ModelId("model", 1), path=path)
    builder = ArtifactBuilder(ArtifactCache(tmp_path / "cache"), timeout_seconds=100)

    with pytest.raises(
        LoadFailed,
        match=r"""\(stoge: Extra inputs are not permitted\): '{"stoge": "x"}'\.""",
    ):
        await builder.build(files, lambda _: None)


BAD_MESSAGES = {
    "not_utf_8": r"printf '\377\376\n'",
    "long": r"""printf '{"\\u001b'; yes | tr -d '\n' | head -c 9999; echo '": 1}'""",
    "deep": r"head -c 99999 /dev/zero | tr '\0' '['; echo",
    "empty_line": "echo",
    "no_object": "echo '[1]'",
    "no_such_error": """echo '{"error": "x", "error_type": "annotations"}'""",
}


@pytest.mark.parametrize("name", BAD_MESSAGES)
async def test_invalid_message_is_shown_truncated_and_printable(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Child(folder=tmp_path).install(monkeypatch, BAD_MESSAGES[name])
    (tmp_path / "artifact").mkdir()
    folder = str(tmp_path / "artifact")
    request = CompileRequest(path="model.h5", sidecar=None, folder=folder)

    event = await child.run_child(request, lambda _: None)

    assert event.error is not None
    assert "doesn't understand" in event.error
    assert event.error.isprintable()
    assert len(event.error) < 1000


async def test_empty_event_does_not_end_the_compilation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Child(folder=tmp_path).install(monkeypatch, """echo '{"lasting": true}'""")
    (tmp_path / "artifact").mkdir()
    folder = str(tmp_path / "artifact")
    request = CompileRequest(path="model.h5", sidecar=None, folder=folder)

    event = await child.run_child(request, lambda _: None)

    assert event.error is not None
    assert "(stage: reading)" in event.error


async def test_unexplained_end_names_the_stage_and_the_last_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Child(folder=tmp_path).install(monkeypatch, "echo 'That was all.' >&2")
    path = tmp_path / "model.h5"
    path.write_bytes(b"x")
    files = ModelFiles(id=ModelId("model", 1), path=path)
    builder = ArtifactBuilder(ArtifactCache(tmp_path / "cache"), timeout_seconds=100)

    with pytest.raises(
        InvalidModel,
        match=r"ended with 0 while reading model\.h5 \(stage: reading\)\. "
        r"Its last output: That was all\.",
    ):
        await builder.build(files, lambda _: None)
