from __future__ import annotations

from array import array

import numpy as np
import pytest

from benchmarks.harness.recording import Recording
from benchmarks.reload import (
    COMPILE,
    DURING,
    LOAD,
    NOTICE,
    REST,
    UNLOAD,
    Measured,
    Stage,
)

LATENCIES = {NOTICE: 1.0, COMPILE: 2.0, LOAD: 3.0, UNLOAD: 4.0, "later": 5.0}
ORIGIN = 1000.0


@pytest.fixture
def measured() -> Measured:
    """Stages of 10 s each, and then rest; a request a second, as late as its stage."""
    names = list(LATENCIES)
    stages = [
        Stage(name=name, begin=ORIGIN + 10 * at, end=ORIGIN + 10 * (at + 1))
        for at, name in enumerate(names[:-1])
    ]
    intended = array("d", [second + 0.9 for second in range(50)])
    latencies = [LATENCIES[names[second // 10]] for second in range(50)]
    ended = array("d", np.add(intended, latencies).tolist())
    recording = Recording(
        intended=intended,
        sent=intended,
        ended=ended,
        statuses=array("H", [200] * 50),
        origin=ORIGIN,
    )
    return Measured(name="one", recordings=[recording], stages=[stages])


@pytest.mark.parametrize(
    ("name", "latencies"),
    [
        pytest.param(COMPILE, {2.0}, id="compile"),
        pytest.param(UNLOAD, {4.0}, id="unload"),
        pytest.param(DURING, {2.0, 3.0, 4.0}, id="during"),
        pytest.param(REST, {1.0, 5.0}, id="rest"),
    ],
)
def test_latencies_by_when_requests_were_due(
    measured: Measured, name: str, latencies: set[float]
) -> None:
    assert set(measured.latencies(name).round(6).tolist()) == latencies


def test_a_refused_request_has_no_latency(measured: Measured) -> None:
    measured.recordings[0].statuses[15] = 503
    assert len(measured.latencies(COMPILE)) == 9
    assert measured.seconds(COMPILE) == [10.0]
