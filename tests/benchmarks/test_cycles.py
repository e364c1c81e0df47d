from __future__ import annotations

import pytest

from benchmarks.cycles import HONEST, LEAKS, figures, slope
from benchmarks.harness.memory import Usage


def samples(*, kib: float = 0.0, threads: float = 0.0) -> list[Usage]:
    """Ninety cycles, the first of which grow a lot, and then by `kib` each."""
    return [
        Usage(
            resident=1024
            * (500_000 + int(cycle * kib) + min(cycle, 10) * 1000 + cycle % 3),
            threads=6 + int(cycle * threads),
            files=16,
        )
        for cycle in range(90)
    ]


def verdicts(honest: list[Usage], leaking: list[Usage]) -> list[bool]:
    found = {leak: honest if leak == HONEST else leaking for leak in LEAKS}
    return [figure.passed for figure in figures(found)]


def test_a_slope_is_the_growth_of_a_step() -> None:
    assert slope([5.0, 7.0, 9.0, 11.0]) == pytest.approx(2.0)


def test_growth_of_the_first_cycles_is_no_leak() -> None:
    assert all(verdicts(samples(), samples(kib=100)))


@pytest.mark.parametrize(
    ("honest", "missed"),
    [
        pytest.param(samples(kib=10), 0, id="memory"),
        pytest.param(samples(threads=0.1), 1, id="threads"),
    ],
)
def test_a_leak_misses_its_target(honest: list[Usage], missed: int) -> None:
    found = verdicts(honest, samples(kib=100))
    assert [at for at, met in enumerate(found) if not met] == [missed]


def test_an_unseen_leak_on_purpose_misses_its_target() -> None:
    assert not all(verdicts(samples(), samples()))
