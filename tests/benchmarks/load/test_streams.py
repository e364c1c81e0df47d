from __future__ import annotations

import pytest

from benchmarks.load.streams import Closed, Open


def opened(**changes: object) -> Open:
    given = {"port": 1, "exchanges": [], "rate": 1000.0, **changes}
    return Open(**given)  # type: ignore[arg-type]


def test_constant_arrivals_are_evenly_apart() -> None:
    due = opened(rate=4.0, pace="constant").arrivals(1)
    assert due == [0, 0.25, 0.5, 0.75, 1]


def test_poisson_arrivals_have_the_rate_and_spread() -> None:
    due = opened().arrivals(20)
    gaps = [later - earlier for earlier, later in zip(due, due[1:], strict=False)]
    mean = sum(gaps) / len(gaps)
    spread = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5

    assert len(due) == pytest.approx(20_000, rel=0.05)
    assert spread == pytest.approx(mean, rel=0.05)
    assert 0 <= due[0] <= due[-1] < 20


def test_a_seed_gives_the_same_arrivals() -> None:
    assert opened(seed=3).arrivals(1) == opened(seed=3).arrivals(1)
    assert opened(seed=3).arrivals(1) != opened(seed=4).arrivals(1)


def test_processes_share_the_rate_and_the_connections() -> None:
    shares = opened(connections=5).shares(2)
    assert [(each.rate, each.connections) for each in shares] == [(500, 3), (500, 2)]
    assert shares[0].arrivals(1) != shares[1].arrivals(1)


def test_no_process_gets_no_connection() -> None:
    stream = Closed(port=1, exchanges=[], connections=1)
    assert [each.connections for each in stream.shares(2)] == [1]
