"""Folders that all processes of one test run share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filelock import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest


def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return `folder`, which the first process that asks fills by `make`."""
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            # A process that fails leaves it to the next.
            begun = folder.with_suffix(f".{os.getpid()}")
            begun.mkdir()
            make(begun)
            begun.rename(folder)

    return folder
