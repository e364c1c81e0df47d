"""The wheel has the files that aren't Python, which an editable install hides."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING
from zipfile import ZipFile

from service.routes import openapi, page
from tests import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

BUILD = "import sys, setuptools.build_meta as made; made.build_wheel(sys.argv[1])"


def test_wheel_has_the_pages_assets_and_other_data(tmp_path: Path) -> None:
    copy = tmp_path / "project"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("inference", "service"):
        shutil.copytree(PROJECT / name, copy / name, ignore=ignored)

    for name in ("asgi.py", "LICENSE", "pyproject.toml", "README.md"):
        shutil.copy(PROJECT / name, copy)

    command = [sys.executable, "-c", BUILD, str(tmp_path)]
    subprocess.run(command, cwd=copy, check=True, capture_output=True)

    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())

    data = {
        path.relative_to(PROJECT).as_posix()
        for package in ("inference", "service")
        for path in (PROJECT / package).rglob("*.*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert {
        f"{folder}/{name}"
        for folder, files in (
            ("service/openapi/swagger", openapi),
            ("service/dashboard/page", page),
        )
        for name in (*files.ASSETS, files.PAGE)
    } <= data
    assert data - names == set()
