"""Small disks of their own: file systems in memory, which fill up for real."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Disk:
    """A mounted file system."""

    folder: Path

    def remount(self, options: str) -> None:
        _run("mount", "-o", f"remount,{options}", str(self.folder))


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Disk]:
    """Mount a disk of `size`, such as "64k". Skip the test where that isn't allowed."""
    folder.mkdir()

    try:
        _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tandem-test", str(folder))
    except (OSError, subprocess.CalledProcessError) as exc:
        pytest.skip(f"mounting needs root, as in a container: {exc}")

    try:
        yield Disk(folder)
    finally:
        _run("umount", str(folder))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
