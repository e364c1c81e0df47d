"""Retries with exponential backoff."""

from __future__ import annotations

import pytest

from inference.lifecycle.retries import FIRST_SECONDS, LONGEST_SECONDS, Failure, Retries


def test_no_failure_without_a_record() -> None:
    retries: Retries[str] = Retries()
    assert retries.failure("a", 0.0) is None
    retries.forget("a")


def test_failure_backs_off() -> None:
    retries: Retries[str] = Retries()
    retries.record_failure("a", "it is cut", 100.0)
    assert retries.failure("a", 101.0) == Failure(
        reason="it is cut", seconds=FIRST_SECONDS - 1
    )
    assert retries.failure("b", 101.0) is None
    assert retries.failure("a", 100.0 + FIRST_SECONDS) is None


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(1, 5), (2, 10), (3, 20), (6, 160), (7, 300), (8, 300), (5000, 300)],
)
def test_each_failure_in_a_row_doubles_the_wait(failures: int, seconds: float) -> None:
    retries: Retries[str] = Retries()

    for number in range(failures):
        retries.record_failure("a", str(number), 0.0)

    failure = retries.failure("a", 0.0)
    assert failure == Failure(reason=str(failures - 1), seconds=seconds)
    assert seconds <= LONGEST_SECONDS


def test_success_resets_the_backoff() -> None:
    retries: Retries[str] = Retries()

    for _ in range(4):
        retries.record_failure("a", "no", 0.0)

    retries.forget("a")
    assert retries.failure("a", 0.0) is None
    retries.record_failure("a", "no", 0.0)
    assert retries.failure("a", 0.0) == Failure(reason="no", seconds=FIRST_SECONDS)
