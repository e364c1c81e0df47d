"""Packages that can't be where ours are: each has a folder of its own, from PyPI."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.shared import made_once, shared_folder

if TYPE_CHECKING:
    from pathlib import Path


def packages(
    factory: pytest.TempPathFactory, name: str, requirement: str, *options: str
) -> Path:
    """Return a folder with `requirement` and what it needs, made once a test run.

    `options` are pip's. Skip the test where it can't be installed, or fail where CI is
    set.
    """
    folder = shared_folder(factory) / f"packages-{name}"

    try:
        made = made_once(folder, partial(install, [*options, requirement]))
    except subprocess.CalledProcessError as exc:
        text = f"{requirement} can't be installed from PyPI: {exc.stderr[-2000:]}"
        if os.environ.get("CI"):
            pytest.fail(text)

        warnings.warn(text, stacklevel=1)
        pytest.skip(text)

    return made / "packages"


def install(words: list[str], folder: Path) -> None:
    """Install into `folder`, which moves afterwards, as no venv may."""
    target = folder / "packages"
    wanted = ["--quiet", "--target", str(target), *words]
    run = partial(subprocess.run, check=True, capture_output=True, text=True)
    uv = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable]

    try:
        run([*uv, *wanted])
    except subprocess.CalledProcessError:
        # It takes a tenth of pip's time, but doesn't read where pip's index is.
        shutil.rmtree(target, ignore_errors=True)
        run([sys.executable, "-m", "pip", "install", "--no-compile", *wanted])
