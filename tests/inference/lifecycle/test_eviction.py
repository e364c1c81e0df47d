"""The choice of the version to evict, as a table."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from inference.errors import LoadFailed
from inference.lifecycle.eviction import check_possible, choose_victim
from inference.system.memory import MIB


@dataclass
class Resident:
    name: str
    last_used: float
    idle: bool = True
    pinned: bool = False


A, B, C = Resident("a", 1), Resident("b", 2), Resident("c", 3)
BUSY = Resident("busy", 0, idle=False)
BUSIER = Resident("busier", 4, idle=False)
PINNED = Resident("pinned", -1, pinned=True)


@pytest.mark.parametrize(
    ("residents", "busy", "victim"),
    [
        ([], False, None),
        ([], True, None),
        ([C, A, B], False, A),
        ([C, A, B], True, A),
        ([BUSY], False, None),
        ([BUSY], True, BUSY),
        ([BUSIER, BUSY], True, BUSY),
        ([BUSY, C], False, C),
        ([BUSY, C], True, C),
        ([PINNED], True, None),
        ([PINNED, B], True, B),
        ([PINNED, BUSY], False, None),
    ],
)
def test_least_recently_used_version_is_chosen(
    residents: list[Resident], busy: bool, victim: Resident | None
) -> None:
    assert choose_victim(residents, busy=busy) is victim


@pytest.mark.parametrize(
    ("nbytes", "pinned", "words"),
    [
        (10, 0, None),
        (4, 6, None),
        (0, 10, None),
        (11, 0, r"needs 11.0 MiB of memory, .* models is 10.0 MiB. Raise --memory-b"),
        (11, 5, r"needs 11.0 MiB of memory, .* models is 10.0 MiB"),
        (5, 6, r"needs 5.0 MiB .* take 6.0 MiB of the budget of 10.0 MiB.*unpin one"),
    ],
)
def test_version_that_can_never_fit_is_refused(
    nbytes: int, pinned: int, words: str | None
) -> None:
    if words is None:
        check_possible(nbytes * MIB, pinned * MIB, 10 * MIB)
        return

    with pytest.raises(LoadFailed, match=words):
        check_possible(nbytes * MIB, pinned * MIB, 10 * MIB)
