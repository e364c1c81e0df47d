from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests import PROJECT
from tests.support.shared import made_once, shared_folder

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The folder that the demo script filled, and its output."""

    folder: Path
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Train the demo models once a run, in a child process, as `make serve` does."""
    folder = made_once(shared_folder(tmp_path_factory) / "demo", train)
    return Made(
        folder=folder / "filled" / "models",
        stdout=(folder / "stdout").read_text(),
        stderr=(folder / "stderr").read_text(),
    )


def train(folder: Path) -> None:
    models = folder / "filled" / "models"
    command = [sys.executable, "-m", "demo.make_models", str(models)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder / "stdout").write_text(done.stdout)
    (folder / "stderr").write_text(done.stderr)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts of the demo models: who needs them first compiles them."""
    return shared_folder(tmp_path_factory) / "demo-cache"
