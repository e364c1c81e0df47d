"""The answering version, labels, and obsolete versions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from inference.errors import ModelNotFound, VersionNotFound
from inference.lifecycle.catalog import Catalog, Entry
from inference.lifecycle.model import Model
from inference.repository.policy import Declaration
from inference.repository.sidecar import VersionsTable
from inference.types import ModelId, ModelSpec, ModelState
from tests.support.shelf import prepared, snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference.repository.snapshot import FoundVersion

LOADING, FAILED, READY = ModelState.LOADING, ModelState.END, ModelState.AVAILABLE


LATEST = Declaration(table=VersionsTable(latest=1))


def found(*numbers: int) -> Mapping[int, FoundVersion]:
    models = {"a": dict.fromkeys(numbers, "content")}
    return snapshot(models).models["a"].versions if numbers else {}


def entry(states: Mapping[int, ModelState], *on_disk: int, **fields: Any) -> Entry:
    """Make model a with versions in these states, all on disk by default."""
    files = found(*(on_disk or states))
    declared = Declaration(
        table=fields.pop("table", VersionsTable(latest=1)),
        labels=fields.pop("declared", {}),
        pinned=fields.pop("declared_pin", False),
    )
    made = Entry(name="a", declaration=declared, found=files, **fields)

    for number, state in states.items():
        made.versions[number] = model(number, state)

    return made


def model(number: int, state: ModelState) -> Model:
    made = Model(ModelId("a", number), "a", changed=lambda: None)
    made.begin("reading")

    if state is READY:
        made.succeed(prepared(found(number)[number].files))
    elif state is FAILED:
        made.fail("it is cut")

    return made


def declare(made: Entry, labels: Mapping[str, int]) -> None:
    made.proposed = replace(LATEST, labels=labels)
    made.adopt()


def only(*numbers: int) -> VersionsTable:
    return VersionsTable(only=numbers)


@pytest.mark.parametrize(
    ("states", "newest"),
    [
        ({3: LOADING}, 3),
        ({1: READY, 2: LOADING}, 1),
        ({1: READY, 2: READY, 3: FAILED}, 2),
        ({1: FAILED, 2: LOADING}, 2),
        ({9: READY, 10: READY}, 10),
    ],
)
def test_newest_available_version_answers_by_default(
    states: dict[int, ModelState], newest: int
) -> None:
    assert entry(states).pick(ModelSpec(name="a")) == newest


def test_explicit_version_answers() -> None:
    made = entry({1: READY, 2: LOADING})
    assert made.pick(ModelSpec(name="a", version=2)) == 2

    with pytest.raises(VersionNotFound, match="no version 3; served: 1, 2"):
        made.pick(ModelSpec(name="a", version=3))


def test_model_without_a_served_version() -> None:
    made = entry({}, 1, table=only(5))
    assert made.wanted() == []

    with pytest.raises(VersionNotFound, match="No version of model 'a' is served"):
        made.pick(ModelSpec(name="a"))


def test_label_moves_only_to_an_available_version() -> None:
    made = entry({1: READY, 2: LOADING}, declared={"stable": 1})
    made.move_labels()
    assert made.labels == {"stable": 1}

    declare(made, {"stable": 2, "canary": 2})
    made.move_labels()
    assert made.labels == {"stable": 1, "canary": 2}
    assert made.pick(ModelSpec(name="a", label="stable")) == 1

    made.versions[2] = model(2, READY)
    made.move_labels()
    assert made.labels == {"stable": 2, "canary": 2}
    assert made.status(2).labels == ("canary", "stable")

    declare(made, {})
    made.move_labels()

    with pytest.raises(VersionNotFound, match="no label 'stable'; its labels are: non"):
        made.pick(ModelSpec(name="a", label="stable"))


def test_label_orders_go_before_declared_labels() -> None:
    made = entry({1: READY, 2: READY}, declared={"stable": 1, "old": 1})
    made.label_orders = {"stable": 2, "old": None}
    made.move_labels()
    assert made.labels == {"stable": 2}


def test_label_of_a_missing_version() -> None:
    made = entry({1: READY}, declared={"next": 7})
    made.move_labels()

    with pytest.raises(VersionNotFound, match="stands for version 7, which isn't in"):
        made.pick(ModelSpec(name="a", label="next"))


@pytest.mark.parametrize(
    ("states", "fields", "obsolete"),
    [
        pytest.param({1: READY}, {}, [], id="it is wanted"),
        pytest.param({1: READY, 2: LOADING}, {}, [], id="the next isn't ready"),
        pytest.param({1: READY, 2: FAILED}, {}, [], id="the next has failed"),
        pytest.param({1: READY, 2: READY}, {}, [1], id="the next answers"),
        pytest.param({1: READY, 2: FAILED, 3: READY}, {}, [1, 2], id="one was skipped"),
        pytest.param(
            {1: READY, 2: READY}, {"declared": {"old": 1}}, [], id="it has a label"
        ),
        pytest.param({1: READY, 2: READY}, {"held": {1}}, [], id="it is to have one"),
        pytest.param(
            {1: READY, 2: FAILED, 3: READY},
            {"declared": {"stable": 2}, "labels": {"stable": 1}},
            [],
            id="its label can't move",
        ),
        pytest.param(
            {1: READY, 2: READY, 3: FAILED},
            {"declared": {"stable": 1}},
            [],
            id="what answers has only a label",
        ),
        pytest.param(
            {1: READY, 2: READY}, {"table": only(2)}, [1], id="it is named no more"
        ),
        pytest.param(
            {1: READY, 2: READY}, {"table": VersionsTable(all=True)}, [], id="all"
        ),
    ],
)
def test_obsolete_versions(
    states: dict[int, ModelState], fields: dict[str, Any], obsolete: list[int]
) -> None:
    made = entry(states, **fields)
    made.move_labels()
    assert made.obsolete() == obsolete


def test_versions_of_both_declarations_are_wanted_until_adoption() -> None:
    made = entry({1: READY, 2: READY, 3: READY}, table=only(1), declared={"old": 2})
    made.proposed = Declaration(table=only(3), labels={"new": 3}, pinned=True)
    made.move_labels()
    assert (made.wanted(), made.obsolete()) == ([1, 2, 3], [])
    assert made.labels == {"old": 2}
    assert not made.versions[3].pinned

    made.adopt()
    made.move_labels()
    assert (made.wanted(), made.obsolete()) == ([3], [1, 2])
    assert made.labels == {"new": 3}
    assert made.versions[3].pinned


@pytest.mark.parametrize(
    ("states", "on_disk", "obsolete"),
    [
        pytest.param({1: READY}, (), [1], id="all gone"),
        pytest.param({1: READY, 2: LOADING}, (2,), [], id="until another answers"),
        pytest.param({1: READY, 2: FAILED}, (2,), [], id="another failed"),
        pytest.param({1: READY, 2: READY}, (2,), [1], id="another answers"),
        pytest.param({1: FAILED, 2: LOADING}, (2,), [1], id="it never answered"),
        pytest.param({1: READY, 2: READY}, (1,), [2], id="the newest is gone"),
    ],
)
def test_removed_version_goes_once_another_answers(
    states: dict[int, ModelState], on_disk: tuple[int, ...], obsolete: list[int]
) -> None:
    made = entry(states)
    made.found = found(*on_disk)

    assert made.obsolete() == obsolete


@pytest.mark.parametrize(
    ("grace", "keep", "after"),
    [
        (True, False, [{1, 2}, {1}, {1}]),
        (False, False, [{1}, {1}, {1}]),
        (True, True, [{1, 2}, {1, 2}, {1, 2}]),
        (False, True, [{1, 2}, {1, 2}, {1, 2}]),
    ],
)
def test_missing_version_counts_as_removed_the_second_time(
    grace: bool, keep: bool, after: list[set[int]]
) -> None:
    made = entry({1: READY, 2: READY})

    for there in after:
        made.update_found(found(1), keep=keep, grace=grace)
        assert set(made.found) == there


def test_returned_version_must_be_missing_twice_again() -> None:
    made = entry({1: READY, 2: READY})

    for on_disk, there in (((1,), {1, 2}), ((1, 2), {1, 2}), ((1,), {1, 2})):
        made.update_found(found(*on_disk), keep=False, grace=True)
        assert set(made.found) == there


@pytest.mark.parametrize(
    ("version", "whole", "declared", "pinned"),
    [
        (None, None, True, True),
        (None, False, True, False),
        (True, False, False, True),
        (False, True, True, False),
    ],
)
def test_pin_orders_go_before_the_sidecar(
    version: bool | None, whole: bool | None, declared: bool, pinned: bool
) -> None:
    made = entry({1: READY}, pin_order=whole, declared_pin=declared)
    made.versions[1].pin_order = version
    made.apply_pins()
    assert made.versions[1].pinned is pinned


def test_catalog_finds_models_by_name() -> None:
    catalog = Catalog()
    made = entry({2: READY, 1: READY})
    catalog.add(made)
    catalog.add(Entry(name="A", declaration=LATEST))
    assert [each.name for each in catalog.entries()] == ["A", "a"]
    assert [each.id.version for each in catalog.models()] == [1, 2]
    assert catalog.find(ModelSpec(name="a")) is made.versions[2]
    assert len(catalog.select(ModelSpec(name="a"))) == 2
    assert catalog.select(ModelSpec(name="a", version=1)) == [made.versions[1]]

    catalog.remove(made)

    with pytest.raises(ModelNotFound, match="no model 'b'; the models are: A"):
        catalog.find(ModelSpec(name="b"))


def test_removing_an_old_entry_keeps_the_one_that_took_its_name() -> None:
    catalog, old, new = Catalog(), entry({1: READY}), entry({1: READY})
    catalog.add(old)
    catalog.remove(old)
    catalog.add(new)
    catalog.remove(old)

    assert catalog.get("a") is new
