from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from inference.backend import uncollected_import

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=[True, False], ids=["collector on", "collector off"])
def enabled(request: pytest.FixtureRequest) -> Iterator[bool]:
    before: bool = gc.isenabled()
    switch(request.param)
    yield request.param
    switch(before)


def switch(on: bool) -> None:
    if on:
        gc.enable()
    else:
        gc.disable()


def test_imported_objects_are_exempt_from_collection(enabled: bool) -> None:
    before = gc.get_freeze_count()

    with uncollected_import():
        imported = [[number] for number in range(1000)]
        assert not gc.isenabled()

    assert gc.get_freeze_count() >= before + len(imported)
    assert gc.isenabled() == enabled


def test_failed_import_leaves_the_collector_as_it_was(enabled: bool) -> None:
    with pytest.raises(ImportError), uncollected_import():
        raise ImportError

    assert gc.isenabled() == enabled


def test_objects_made_later_are_collected() -> None:
    with uncollected_import():
        pass

    cycle: list[object] = []
    cycle.append(cycle)
    del cycle
    assert gc.collect() > 0
