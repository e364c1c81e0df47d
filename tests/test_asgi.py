"""`asgi.py` in a process of its own: it changes what standard error is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]

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


def test_our_own_lines_are_not_held_back_with_native_ones(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=PROJECT,
        env=os.environ | {"TANDEM_MODELS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "python's words" in done.stderr
    assert "a line of the log" in done.stderr
    assert "native words" in done.stderr
    assert "native noise" not in done.stderr
