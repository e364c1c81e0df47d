"""The answer for a model or a version that isn't served."""

from __future__ import annotations

import pytest

from inference.errors import ModelNotFound, VersionNotFound
from inference.lifecycle.catalog import Catalog, Entry
from inference.repository.policy import Declaration
from inference.repository.sidecar import VersionsTable
from inference.types import ModelSpec

LATEST = Declaration(table=VersionsTable(latest=1))


@pytest.mark.parametrize("name", ["flowers.h5", "Flowers", "FLOWERS.Keras"])
def test_a_name_as_it_is_on_disk_or_in_another_case(name: str) -> None:
    catalog = Catalog()
    catalog.add(Entry(name="flowers", declaration=LATEST))
    catalog.add(Entry(name="flowers.v2", declaration=LATEST))

    with pytest.raises(ModelNotFound) as caught:
        catalog.entry(name)

    assert str(caught.value) == (
        f"There is no model '{name}'; did you mean 'flowers'? The models are: flowers, "
        "flowers.v2."
    )


@pytest.mark.parametrize("name", ["late", "late.h5", "Late", "late.onnx"])
def test_what_is_passed_over_is_said_to_who_asks_for_it(name: str) -> None:
    catalog = Catalog()
    catalog.note({"late": ["late.onnx: no format."], "late.onnx": ["late.onnx: no."]})

    with pytest.raises(ModelNotFound, match=r"are: none. Passed over: late.onnx: no"):
        catalog.entry(name)

    with pytest.raises(ModelNotFound, match=r"'other'; the models are: none.$"):
        catalog.entry("other")

    catalog.note({})

    with pytest.raises(ModelNotFound, match=r"the models are: none.$"):
        catalog.entry(name)


def test_what_is_passed_over_of_a_model_is_said_with_its_versions() -> None:
    catalog = Catalog()
    catalog.add(Entry(name="a", declaration=LATEST))
    catalog.note({"a": ["a/3: holds no model."]})
    made = Entry(name="a", declaration=LATEST)
    catalog.add(made)
    said = r"no version 3; served: none. Passed over: a/3: holds no model."

    with pytest.raises(VersionNotFound, match=said):
        made.pick(ModelSpec(name="a", version=3))


def test_not_all_that_is_passed_over_is_said() -> None:
    catalog = Catalog()
    catalog.note({"a": [f"a/{number}: {'holds none; ' * 100}" for number in range(99)]})

    with pytest.raises(ModelNotFound) as caught:
        catalog.entry("a")

    assert "a/2" in str(caught.value)
    assert len(str(caught.value)) < 2000
