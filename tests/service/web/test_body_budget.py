"""The limit on bytes of request bodies held at a time."""

from __future__ import annotations

import pytest
from werkzeug.exceptions import ServiceUnavailable

from service.web.body_budget import BodyBudget


def test_bytes_are_freed_when_the_request_ends() -> None:
    budget = BodyBudget(10)

    with budget.reservation() as first, budget.reservation() as second:
        first.add(4)
        second.add(5)
        second.add(1)
        assert budget.taken == 10

    assert budget.taken == 0


def test_a_refused_body_reserves_nothing() -> None:
    budget = BodyBudget(10)

    with budget.reservation() as first:
        first.add(8)

        with (
            pytest.raises(ServiceUnavailable, match="holds 8 bytes") as caught,
            budget.reservation() as second,
        ):
            second.add(2)
            second.add(1)

        assert budget.taken == 8
        assert ("Retry-After", "1") in caught.value.get_headers()


def test_a_single_body_may_exceed_the_limit() -> None:
    budget = BodyBudget(10)

    with budget.reservation() as reservation:
        reservation.add(8)
        reservation.add(100)
        assert budget.taken == 108

    assert budget.taken == 0
