from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

from tests import PROJECT
from tests.support.shared import shared_folder

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
    shared = shared_folder(tmp_path_factory) / "demo"
    shared.mkdir(exist_ok=True)
    folder, said = shared / "made" / "models", (shared / "stdout", shared / "stderr")

    with FileLock(shared / "lock"):
        if not folder.exists():
            command = [sys.executable, "-m", "demo.make_models", str(folder)]

            with said[0].open("w") as stdout, said[1].open("w") as stderr:
                subprocess.run(
                    command, cwd=PROJECT, stdout=stdout, stderr=stderr, check=False
                )

    assert folder.exists(), said[1].read_text()
    return Made(folder=folder, stdout=said[0].read_text(), stderr=said[1].read_text())


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts of the demo models: who needs them first compiles them."""
    return shared_folder(tmp_path_factory) / "demo" / "cache"
