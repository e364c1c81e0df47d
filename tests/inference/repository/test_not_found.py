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
def test_similar_name_is_suggested(name: str) -> None:
    catalog = Catalog()
    catalog.add(Entry(name="flowers", declaration=LATEST))
    catalog.add(Entry(name="flowers.v2", declaration=LATEST))

    with pytest.raises(ModelNotFound) as caught:
        catalog.entry(name)

    assert str(caught.value) == (
        f"There is no model '{name}'; did you mean 'flowers'? The models are: flowers, "
        "flowers.v2."
    )


@pytest.mark.parametrize("name", ["only", "Only.h5", "only.weights.h5"])
def test_a_model_named_after_its_weights_is_suggested(name: str) -> None:
    catalog = Catalog()
    catalog.add(Entry(name="only.weights", declaration=LATEST))

    with pytest.raises(ModelNotFound, match="did you mean 'only.weights'"):
        catalog.entry(name)


@pytest.mark.parametrize("name", ["late", "late.h5", "Late", "late.onnx"])
def test_not_found_quotes_the_entrys_problem(name: str) -> None:
    catalog = Catalog()
    catalog.note({"late": ["late.onnx: no format."], "late.onnx": ["late.onnx: no."]})

    with pytest.raises(ModelNotFound, match=r"are: none. Passed over: late.onnx: no"):
        catalog.entry(name)

    with pytest.raises(ModelNotFound, match=r"'other'; the models are: none.$"):
        catalog.entry("other")

    catalog.note({})

    with pytest.raises(ModelNotFound, match=r"the models are: none.$"):
        catalog.entry(name)


def test_missing_version_quotes_its_problem() -> None:
    catalog = Catalog()
    catalog.add(Entry(name="a", declaration=LATEST))
    catalog.note({"a": ["a/3: holds no model."]})
    made = Entry(name="a", declaration=LATEST)
    catalog.add(made)
    message = r"no version 3; served: none. Passed over: a/3: holds no model."

    with pytest.raises(VersionNotFound, match=message):
        made.pick(ModelSpec(name="a", version=3))


def test_only_some_problems_are_quoted() -> None:
    catalog = Catalog()
    catalog.note({"a": [f"a/{number}: {'holds none; ' * 100}" for number in range(99)]})

    with pytest.raises(ModelNotFound) as caught:
        catalog.entry("a")

    assert "a/2" in str(caught.value)
    assert len(str(caught.value)) < 2000
