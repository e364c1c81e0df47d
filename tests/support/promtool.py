"""Prometheus' own checker, where it is installed."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tests.support.tools import find_tool

if TYPE_CHECKING:
    from pathlib import Path


def promtool(
    *args: str, text: str = "", folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run promtool with `text` as its input; return its outputs and status."""
    return subprocess.run(
        [find_tool("promtool", "prometheus"), *args],
        input=text,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
