"""The document of all models, made anew only where something changed."""

from __future__ import annotations

from dataclasses import replace

from service.dashboard.overview import Versions
from service.dashboard.readings import TOTAL, Counts, Rates
from tests.support.fakes import FakeModel

HALF, OTHER = FakeModel().status, FakeModel(name="other").status


def test_a_version_that_stays_as_it_is_has_the_same_document() -> None:
    versions = Versions()
    busy = {("half", "1"): Counts(requests=4), TOTAL: Counts(requests=4)}

    first = versions.documents([HALF, OTHER], Rates(seconds=2))
    again = versions.documents([HALF, OTHER], Rates(seconds=2, models=busy))
    pinned = versions.documents(
        [HALF, replace(OTHER, pinned=True)], Rates(seconds=2, models=busy)
    )

    assert [each["requests_per_second"] for each in again] == [2.0, 0.0]
    assert again[0] is not first[0]
    assert again[1] is first[1]
    assert pinned[0] == again[0]
    assert pinned[1] == {**first[1], "pinned": True}


def test_a_version_that_is_gone_is_forgotten() -> None:
    versions = Versions()
    first = versions.documents([HALF, OTHER], Rates())
    versions.documents([HALF], Rates())

    assert versions.documents([HALF, OTHER], Rates())[1] is not first[1]
