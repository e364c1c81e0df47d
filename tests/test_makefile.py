"""`make setup`'s first steps, in a copy of the project without its own packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import PROJECT

OTHER_PYTHON = """\
#!/bin/sh
exec {python} -c 'import sys; sys.version_info = {version}; exec(sys.argv[1])' "$2"
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(PROJECT / name, tmp_path)

    return tmp_path


@pytest.fixture(params=[(3, 10, 9), (3, 14, 0)], ids=["too old", "too new"])
def other_python(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A `python3` that says it is of a version that won't do."""
    path = tmp_path / "bin" / "python3"
    path.parent.mkdir()
    path.write_text(OTHER_PYTHON.format(python=sys.executable, version=request.param))
    path.chmod(0o755)
    return path


def test_says_which_python_it_wants(project: Path, other_python: Path) -> None:
    tools = [shutil.which(name) for name in ("make", "sh")]

    for tool in filter(None, tools):
        (other_python.parent / Path(tool).name).symlink_to(tool)

    done = make(project, "setup", PATH=str(other_python.parent))

    assert done.returncode != 0
    assert "Tandem needs Python 3.11, 3.12 or 3.13" in done.stderr
    assert not (project / ".venv").exists()


def test_refuses_a_named_python_of_another_version(
    project: Path, other_python: Path
) -> None:
    done = make(project, "setup", f"PYTHON={other_python}")

    assert done.returncode != 0
    assert f"{other_python} isn't Python 3.11, 3.12 or 3.13" in done.stderr
    assert not (project / ".venv").exists()


def test_a_second_setup_does_nothing(project: Path) -> None:
    installed(project)

    done = make(project, "setup")

    assert (done.returncode, done.stderr) == (0, "")
    assert "Nothing to be done" in done.stdout


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_installs_again_when_what_it_installs_has_changed(
    project: Path, changed: str
) -> None:
    stamp = installed(project)
    later = stamp.stat().st_mtime + 1
    os.utime(project / changed, (later, later))

    done = make(project, "--dry-run", "setup")

    assert "pip install" in done.stdout


@pytest.mark.parametrize("target", ["serve", "test", "bench"])
def test_everything_sets_up_first(project: Path, target: str) -> None:
    done = make(project, "--dry-run", target)

    assert done.returncode == 0, done.stderr
    assert "-c constraints.txt -e '.[test]'" in done.stdout


def test_locks_without_what_an_older_lock_allows(project: Path) -> None:
    done = make(project, "--dry-run", "lock")

    assert "-m venv .venv" in done.stdout
    assert "-e '.[test]'" not in done.stdout


def test_names_its_targets_when_asked_for_none(project: Path) -> None:
    done = make(project)

    for target in ("setup", "serve", "test", "bench", "lock"):
        assert f"make {target}" in done.stdout


def installed(project: Path) -> Path:
    venv = project / ".venv"
    venv.mkdir()

    for stamp in (".made", ".installed"):
        (venv / stamp).touch()

    return venv / ".installed"


def make(
    project: Path, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    # Under `make test` these would be the outer make's.
    clean = {
        name: value
        for name, value in os.environ.items()
        if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    }
    command = [shutil.which("make") or "make", *arguments]
    return subprocess.run(
        command, cwd=project, env=clean | variables, capture_output=True, text=True
    )
