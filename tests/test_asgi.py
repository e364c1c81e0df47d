"""`asgi.py` in a process of its own, because it replaces standard error."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import sys
import asgi
from inference.backend import quiet_stderr
import os, structlog

with quiet_stderr():
    os.write(2, b"native noise\\n")
    print("python's words", file=sys.stderr)
    structlog.get_logger().info("a line of the log")

os.write(2, b"native words\\n")
"""


def run(script: str, **variables: str) -> str:
    """Run a script; return its standard error."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PROJECT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr


def test_a_misspelt_variable_is_named(tmp_path: Path) -> None:
    said = run("import asgi", TANDEM_MODELS=str(tmp_path), TANDEM_SCAN_SECOND="1")

    assert "TANDEM_SCAN_SECONDS" in said


def test_our_lines_appear_while_native_ones_are_redirected(tmp_path: Path) -> None:
    said = run(SCRIPT, TANDEM_MODELS=str(tmp_path))

    assert "python's words" in said
    assert "a line of the log" in said
    assert "native words" in said
    assert "native noise" not in said
