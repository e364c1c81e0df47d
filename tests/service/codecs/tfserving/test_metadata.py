from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest

from inference import ModelId, ModelState, ModelStatus, Part
from service.codecs.tfserving.metadata import metadata_document
from tests.support.fakes import signature, tensor

if TYPE_CHECKING:
    from inference import Shape, Signature, TensorSpec


def document(item: Signature) -> Any:
    status = ModelStatus(
        id=ModelId("half", 123),
        path="/models/half",
        state=ModelState.AVAILABLE,
        signatures={item.name: item},
    )
    return orjson.loads(orjson.dumps(metadata_document(status)))


def signature_document(item: Signature) -> Any:
    definitions = document(item)["metadata"]["signature_def"]["signature_def"]
    return definitions[item.name]


def test_the_whole_document() -> None:
    item = signature(tensor("x", shape=(None, 1)), name="serving_default")

    assert document(item) == {
        "model_spec": {"name": "half", "signature_name": "", "version": "123"},
        "metadata": {
            "signature_def": {
                "signature_def": {
                    "serving_default": {
                        "inputs": {
                            "x": {
                                "dtype": "DT_FLOAT",
                                "tensor_shape": {
                                    "dim": [
                                        {"size": "-1", "name": ""},
                                        {"size": "1", "name": ""},
                                    ],
                                    "unknown_rank": False,
                                },
                                "name": "x:0",
                            }
                        },
                        "outputs": {
                            "y": {
                                "dtype": "DT_FLOAT",
                                "tensor_shape": {"dim": [], "unknown_rank": True},
                                "name": "y:0",
                            }
                        },
                        "method_name": "tensorflow/serving/predict",
                        "defaults": {},
                    }
                }
            }
        },
    }


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        ("float16", "DT_HALF"),
        ("bfloat16", "DT_BFLOAT16"),
        ("float32", "DT_FLOAT"),
        ("float64", "DT_DOUBLE"),
        ("int8", "DT_INT8"),
        ("uint64", "DT_UINT64"),
        ("bool", "DT_BOOL"),
        ("string", "DT_STRING"),
        ("complex64", "DT_COMPLEX64"),
        ("qint8", "DT_QINT8"),
    ],
)
def test_dtypes(dtype: str, name: str) -> None:
    inputs = signature_document(signature(tensor("x", dtype)))["inputs"]

    assert inputs["x"]["dtype"] == name


@pytest.mark.parametrize(
    ("shape", "sizes", "unknown"),
    [
        pytest.param(None, [], True, id="unknown rank"),
        pytest.param((), [], False, id="scalar"),
        pytest.param((None, 3), ["-1", "3"], False, id="unknown dimension"),
    ],
)
def test_shapes(shape: Shape, sizes: list[str], unknown: bool) -> None:
    inputs = signature_document(signature(tensor("x", shape=shape)))["inputs"]
    found = inputs["x"]["tensor_shape"]

    assert [dim["size"] for dim in found["dim"]] == sizes
    assert found["unknown_rank"] is unknown


@pytest.mark.parametrize(
    ("dtype", "default", "field", "values"),
    [
        ("bool", np.array(False), "bool_val", [False]),
        ("float32", np.array(1, np.float32), "float_val", [1.0]),
        ("int32", np.array([1, 2], np.int32), "int_val", [1, 2]),
        ("int64", np.array(2**53 + 1), "int64_val", [str(2**53 + 1)]),
        ("string", np.array(b"hi", object), "string_val", ["aGk="]),
    ],
)
def test_defaults(dtype: str, default: Any, field: str, values: list[Any]) -> None:
    item = signature(tensor("x"), tensor("option", dtype, default.shape, default))

    defaults = signature_document(item)["defaults"]

    assert list(defaults) == ["option"]
    assert defaults["option"][field] == values
    assert len(defaults["option"]["tensor_shape"]["dim"]) == default.ndim


def parts(kind: str, *roles: str) -> dict[str, TensorSpec]:
    return {
        f"r/{role}": replace(
            tensor(f"r/{role}", "float32" if role == "values" else "int64", (None, 2)),
            part=Part(of="r", kind=kind, role=role, shape=(None, None, 2)),
        )
        for role in roles
    }


def test_a_ragged_output_is_one_with_its_parts() -> None:
    outputs = parts("ragged", "values", "row_splits")
    item = replace(signature(tensor("x")), outputs=outputs)

    (name, info) = next(iter(signature_document(item)["outputs"].items()))

    assert (name, info["dtype"]) == ("r", "DT_FLOAT")
    assert [dim["size"] for dim in info["tensor_shape"]["dim"]] == ["-1", "-1", "2"]
    composite = info["composite_tensor"]
    assert composite["type_spec"]["type_spec_class"] == "RAGGED_TENSOR_SPEC"
    assert [each["name"] for each in composite["components"]] == [
        "r/values:0",
        "r/row_splits:0",
    ]


def test_a_sparse_output_is_one_with_its_parts() -> None:
    outputs = parts("sparse", "indices", "values", "shape")
    item = replace(signature(tensor("x")), outputs=outputs)

    info = signature_document(item)["outputs"]["r"]

    assert info["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in info["tensor_shape"]["dim"]] == ["-1", "-1", "2"]
    assert info["coo_sparse"] == {
        "values_tensor_name": "r/values:0",
        "indices_tensor_name": "r/indices:0",
        "dense_shape_tensor_name": "r/shape:0",
    }
