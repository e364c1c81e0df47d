from __future__ import annotations

import numpy as np
import pytest

from inference.inputs.composites import check_row_splits
from inference.inputs.part_samples import OPEN_SIZE, fit_parts
from inference.types import Array, Part, Shape, Signature, TensorSpec


def signature(kind: str, shape: Shape, **roles: str) -> Signature:
    """A signature of one composite input; `roles` are its parts and their dtypes."""
    parts = {
        role: TensorSpec(
            name=role,
            tensor=f"{role}:0",
            dtype=dtype,
            shape=None,
            part=Part(of="values", kind=kind, role=role, shape=shape),
        )
        for role, dtype in roles.items()
    }
    return Signature(name="s", inputs=parts, outputs={})


@pytest.mark.parametrize(
    ("shape", "lengths"),
    [
        (None, [[1, 2, 1], [1, 2, 1, 2]]),
        ((None, None, None), [[1, 2, 1], [1, 2, 1, 2]]),
        ((None, 2, None), [[2, 2, 2], [1, 2, 1, 2, 1, 2]]),
        ((2, None, 3), [[1, 2], [3, 3, 3]]),
    ],
)
def test_row_splits_fit_the_values(shape: Shape, lengths: list[list[int]]) -> None:
    ragged = signature(
        "ragged", shape, values="float32", row_splits="int64", row_splits_1="int32"
    )
    given: dict[str, Array] = {
        "values": np.ones((3, 5), "float32"),
        "row_splits": np.zeros(3, "int64"),
        "row_splits_1": np.zeros(3, "int32"),
    }

    made = fit_parts(ragged, given)

    check_row_splits(ragged, made)
    splits = made["row_splits"], made["row_splits_1"]
    assert [np.diff(each).tolist() for each in splits] == lengths
    assert made["values"].shape == (sum(lengths[-1]), 5)
    assert {name: made[name].dtype for name in made} == {
        name: given[name].dtype for name in given
    }


@pytest.mark.parametrize(
    ("shape", "dense"),
    [
        ((None, 4), [3, 4]),
        ((None, None), [3, OPEN_SIZE]),
        (None, [3, OPEN_SIZE]),
        ((2, 2), [2, 2]),
    ],
)
def test_indices_lie_within_the_shape(shape: Shape, dense: list[int]) -> None:
    sparse = signature(
        "sparse", shape, indices="int64", values="string", shape_="int64"
    )
    given: dict[str, Array] = {
        "indices": np.zeros((3, 2), "int64"),
        "values": np.array([b"a", b"b", b"a"], object),
        "shape_": np.zeros(2, "int64"),
    }

    made = fit_parts(sparse, given)

    assert made["shape_"].tolist() == dense
    assert (made["indices"] < made["shape_"]).all()
    assert made["values"].tolist() == given["values"].tolist()


def test_other_inputs_stay_as_they_are() -> None:
    plain = signature("ragged", None, values="float32", row_splits="int64")
    lone = {"values": np.zeros(2, "float32")}

    assert fit_parts(plain, lone) == lone
