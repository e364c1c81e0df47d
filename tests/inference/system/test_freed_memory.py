"""Reuse of freed memory, by the page faults of a subprocess."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import resource
from inference.system.memory import keep_freed_memory
{first}
for _ in range(50):
    bytes(bytearray(4 << 20))
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def faults(first: str) -> int:
    code = FAULTS.format(first=first)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_freed_memory_is_kept() -> None:
    assert faults("keep_freed_memory()") < faults("") / 2
