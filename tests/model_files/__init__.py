"""Tiny real model files, each with the outputs that its own framework computed.

`build_all(root)` writes `<root>/<case>/model.*` for every name in `GOOD` and `BROKEN`.
Importing this package needs neither TensorFlow nor Keras: every group of files is
written by a child process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from tests import PROJECT
from tests.model_files.cases import Case, Example, load_broken, load_case
from tests.model_files.names import BROKEN, GOOD, GROUPS

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "BROKEN",
    "GOOD",
    "GROUPS",
    "Case",
    "Example",
    "build_all",
    "build_group",
    "load_broken",
    "load_case",
]

SETTINGS = {
    "CUDA_VISIBLE_DEVICES": "",
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
}


def build_all(root: Path) -> None:
    """Write every case below `root`, its groups side by side."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(partial(build_group, root), GROUPS))


def build_group(root: Path, group: str) -> None:
    """Write one group in a child. Raise `RuntimeError` with the child's output."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.model_files", str(root), "--group", group],
        cwd=PROJECT,
        env=os.environ | SETTINGS,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"building {group} failed:\n{done.stderr[-4000:]}")
