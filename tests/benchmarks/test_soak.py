from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from benchmarks.harness.exchanges import predict_path, predictions
from benchmarks.soak import SHARES, SIZE, gauges_of, mixture

GOOD = {
    name: [
        replace(each, name=f"{name} predict")
        for each in predictions(
            np.ones((2, 2), np.float32), np.ones((2, 1)), predict_path(name)
        )
    ]
    for name in ("dense", "graph")
}


def test_every_kind_is_in_the_mixture() -> None:
    mixed = mixture(GOOD)
    names = Counter(each.name for each in mixed)

    assert len(mixed) == SIZE
    assert set(names) == {
        "dense predict",
        "graph predict",
        "GET",
        "bad request",
        "with a deadline",
        "left",
        "slow",
        "half-closed",
        "pipelined",
        "offers an upgrade",
    }
    assert names["left"] > SIZE * SHARES["leave"] / 100 / 2


def test_a_seed_gives_the_same_mixture() -> None:
    first, second, other = mixture(GOOD), mixture(GOOD), mixture(GOOD, 8)
    requests = [[each.request for each in mixed] for mixed in (first, second, other)]

    assert requests[0] == requests[1] != requests[2]


def test_an_impatient_request_has_a_deadline_and_may_be_late() -> None:
    impatient = [each for each in mixture(GOOD) if each.name == "with a deadline"]

    for each in impatient:
        head = each.request.partition(b"\r\n\r\n")[0]
        assert b"\r\nPrefer: wait=0.0" in head
        assert each.allowed == {200, 429, 504}


def test_a_client_leaves_after_a_part_of_its_request_or_all() -> None:
    leaves = [(each.leave, each.request) for each in mixture(GOOD) if each.leave]
    whole = [leave for leave, request in leaves if leave.sent == len(request)]

    assert 0 < len(whole) < len(leaves)
    assert all(0 < leave.sent <= len(request) for leave, request in leaves)


def test_gauges_of_all_versions_are_summed() -> None:
    versions = [
        {"version": 1, "load": {"running": 1, "waiting": 2, "max_queue": 256}},
        {"version": 2, "load": {"running": 3, "orphans": 0}},
    ]
    document = {"models": [{"name": "m", "versions": versions}]}

    assert gauges_of(document) == {"running": 4, "waiting": 2, "orphans": 0}


def test_no_load_is_no_zero() -> None:
    assert not gauges_of({"models": [{"name": "m"}]})
