from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests import PROJECT

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
    """Train the demo models in a child process, as `make serve` does."""
    folder = tmp_path_factory.mktemp("demo") / "models"
    command = [sys.executable, "-m", "demo.make_models", str(folder)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Made(folder=folder, stdout=done.stdout, stderr=done.stderr)
