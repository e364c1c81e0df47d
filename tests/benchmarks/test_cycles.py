from __future__ import annotations

import pytest

from benchmarks.cycles import HONEST, targets
from benchmarks.cycling import LEAKS, Sample, slope


def samples(*, kib: float = 0.0, threads: float = 0.0) -> list[Sample]:
    """Ninety cycles, the first of which take much, and then `kib` each."""
    return [
        Sample(
            resident=500_000 + int(cycle * kib) + min(cycle, 10) * 1000 + cycle % 3,
            threads=6 + int(cycle * threads),
            files=16,
        )
        for cycle in range(90)
    ]


def verdicts(honest: list[Sample], leaking: list[Sample]) -> list[bool]:
    found = {leak: honest if leak == HONEST else leaking for leak in LEAKS}
    return [target.met for target in targets(found)]


def test_a_slope_is_that_of_the_line() -> None:
    assert slope([5.0, 7.0, 9.0, 11.0]) == pytest.approx(2.0)


def test_what_only_grows_at_first_is_flat() -> None:
    assert all(verdicts(samples(), samples(kib=100)))


@pytest.mark.parametrize(
    ("honest", "missed"),
    [
        pytest.param(samples(kib=10), 0, id="memory"),
        pytest.param(samples(threads=0.1), 1, id="threads"),
    ],
)
def test_a_leak_misses_its_target(honest: list[Sample], missed: int) -> None:
    found = verdicts(honest, samples(kib=100))
    assert [at for at, met in enumerate(found) if not met] == [missed]


def test_a_leak_on_purpose_that_is_not_seen_misses_its_target() -> None:
    assert not all(verdicts(samples(), samples()))
