from __future__ import annotations

import sys
import time

import pytest

from benchmarks.children import child
from benchmarks.resident import Sampler
from tests.benchmarks import holding

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
SIZE = 32 << 20


def test_what_another_process_holds_for_a_moment_is_seen() -> None:
    with child() as other:
        process = other.call(holding.number)

        with Sampler(process) as sampler:
            other.call(holding.hold, SIZE, 0.2)
            time.sleep(0.05)

    assert max(sampler.samples) - sampler.samples[0] >= SIZE
    assert sampler.samples[-1] - sampler.samples[0] < SIZE / 2
