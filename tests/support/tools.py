"""Programs that tests use where they are installed."""

from __future__ import annotations

import os
import shutil

import pytest


def find_tool(name: str, package: str) -> str:
    """Return the path of a program; skip the test without it, or fail where CI is set.

    `package` is Debian's.
    """
    # Servers are often where only root looks for them.
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is not None:
        return path

    advice = f"{name} is not installed (on Debian: apt install {package})"
    if os.environ.get("CI"):
        pytest.fail(f"{advice}, and CI is set")

    pytest.skip(advice)
