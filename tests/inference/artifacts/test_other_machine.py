"""Tests of what TensorFlow does to graphs, on a machine of the other kind.

TensorFlow decides on import whether to use oneDNN.
"""

from __future__ import annotations

import os
import subprocess
import sys

from inference.runtime.servable import this_machine
from tests import PROJECT

LENGTHS = "test_too_short_inputs_are_refused_with_what_is_needed"
FILES = [
    f"tests/inference/compiler/{name}"
    for name in (
        *("rewriting/test_folding.py", "rewriting/test_forms.py"),
        *(f"rewriting/test_lengths.py::{LENGTHS}", "verification/test_precision.py"),
        "test_shared_values.py",
    )
]


def test_graphs_are_right_on_the_other_kind_of_machine() -> None:
    onednn = "0" if this_machine().onednn else "1"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *FILES],
        cwd=PROJECT,
        env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": onednn},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
