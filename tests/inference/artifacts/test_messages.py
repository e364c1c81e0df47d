"""Events between the compiler's child and its parent: none may be lost."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.artifacts.artifact import (
    FORMAT,
    Manifest,
    signature_entry,
    signatures_of,
)
from inference.artifacts.messages import CompileEvent
from inference.dtypes import numpy_dtype
from inference.types import Sample, Signature, TensorSpec

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
FLOATS = st.floats(allow_nan=False)
SHAPES = st.none() | st.lists(st.none() | st.integers(0, 2**40), max_size=3).map(tuple)
DTYPES = ("float32", "bfloat16", "float8_e5m2", "int4", "uint64", "complex64", "bool")


@st.composite
def defaults(draw: st.DrawFn, dtype: str) -> Any:
    shape = draw(st.sampled_from([(), (1,), (0, 3), (2, 2)]))
    size = int(np.prod(shape))

    if dtype == "string":
        flat = np.empty(size, dtype=object)
        flat[:] = draw(st.lists(st.binary(max_size=5), min_size=size, max_size=size))
        return flat.reshape(shape)

    numbers = draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
    return np.array(numbers).astype(numpy_dtype(dtype)).reshape(shape)


@st.composite
def specs(draw: st.DrawFn) -> TensorSpec:
    dtype = draw(st.sampled_from([*DTYPES, "string"]))
    return TensorSpec(
        name=draw(TEXTS),
        tensor=draw(TEXTS),
        dtype=dtype,
        shape=draw(SHAPES),
        default=draw(st.none() | defaults(dtype)),
    )


SAMPLES = st.builds(
    Sample,
    shapes=st.dictionaries(TEXTS, st.lists(st.integers(0, 9), max_size=3).map(tuple)),
    texts=st.dictionaries(TEXTS, st.binary(max_size=5)),
    fills=st.dictionaries(TEXTS, FLOATS),
)


@st.composite
def signatures(draw: st.DrawFn) -> Signature:
    named = st.dictionaries(TEXTS, specs(), max_size=2).map(
        lambda found: {name: replace(each, name=name) for name, each in found.items()}
    )
    return Signature(
        name=draw(TEXTS),
        inputs=draw(named),
        outputs=draw(named),
        batchable=draw(st.booleans()),
        batchable_reason=draw(TEXTS),
        sample=draw(st.none() | SAMPLES),
    )


def manifest(each: Signature, **values: Any) -> Manifest:
    given: dict[str, Any] = {
        "format_version": FORMAT,
        "source_format": "frozen graph",
        "source_writer": "TensorFlow",
        "default_signature": each.name,
        "signatures": {each.name: signature_entry(each)},
        "optimization": "full",
        "control_flow": False,
        "notes": (),
        "weights": (),
        "graph_bytes": 1,
        "graph_sha256": "",
        "weights_bytes": 0,
    }
    return Manifest(**given | values)


def assert_same(found: Signature, wanted: Signature) -> None:
    for mine, yours in ((found.inputs, wanted.inputs), (found.outputs, wanted.outputs)):
        assert list(mine) == list(yours)

        for name, spec in mine.items():
            other = yours[name]
            assert replace(spec, default=None) == replace(other, default=None)
            assert (spec.default is None) == (other.default is None)

            if spec.default is not None and other.default is not None:
                assert spec.default.dtype == other.default.dtype
                assert spec.default.shape == other.default.shape
                assert spec.default.tolist() == other.default.tolist()

    same = ("name", "batchable", "batchable_reason", "sample")
    assert all(getattr(found, key) == getattr(wanted, key) for key in same)


@given(each=signatures(), gap=st.none() | FLOATS, notes=st.lists(TEXTS).map(tuple))
@settings(deadline=None)
def test_any_manifest_survives_the_round_trip(
    each: Signature, gap: float | None, notes: tuple[str, ...]
) -> None:
    sent = CompileEvent(manifest=manifest(each, largest_difference=gap, notes=notes))
    line = sent.model_dump_json()
    received = CompileEvent.model_validate_json(line)

    assert "\n" not in line
    assert received == sent
    assert received.manifest is not None
    assert_same(signatures_of(received.manifest)[each.name], each)
    kept = Manifest.model_validate_json(received.manifest.model_dump_json())
    assert kept == sent.manifest


@given(
    stage=st.none() | TEXTS,
    error=st.none() | TEXTS,
    unconfined=st.none() | st.lists(TEXTS).map(tuple),
    lasting=st.booleans(),
)
def test_any_event_survives_the_round_trip(
    stage: str | None,
    error: str | None,
    unconfined: tuple[str, ...] | None,
    lasting: bool,
) -> None:
    sent = CompileEvent(
        stage=stage, error=error, unconfined=unconfined, lasting=lasting
    )

    assert CompileEvent.model_validate_json(sent.model_dump_json()) == sent


@pytest.mark.parametrize("gap", [float("inf"), float("-inf"), float("nan")])
def test_infinite_difference_survives(gap: float) -> None:
    each = Signature(name="s", inputs={}, outputs={})
    sent = CompileEvent(manifest=manifest(each, largest_difference=gap))
    received = CompileEvent.model_validate_json(sent.model_dump_json())

    assert received.manifest is not None
    assert received.manifest.largest_difference == pytest.approx(gap, nan_ok=True)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(np.float32("nan"), id="nan"),
        pytest.param(np.array([np.inf, -np.inf, -0.0]), id="infinities"),
        pytest.param(np.uint64(2**64 - 1), id="largest"),
        pytest.param(np.array([1 + 2j], np.complex128), id="complex"),
        pytest.param(np.array([0.1], ml_dtypes.bfloat16), id="bfloat16"),
        pytest.param(np.zeros((0, 3), np.int8), id="empty"),
    ],
)
def test_a_default_keeps_every_bit(value: Any) -> None:
    array = np.asarray(value)
    spec = TensorSpec(
        name="x", tensor="x:0", dtype=array.dtype.name, shape=None, default=array
    )
    each = Signature(name="s", inputs={"x": spec}, outputs={})
    sent = CompileEvent(manifest=manifest(each))
    received = CompileEvent.model_validate_json(sent.model_dump_json())

    assert received.manifest is not None
    found = signatures_of(received.manifest)["s"].inputs["x"].default
    assert found is not None
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()


def test_parsed_default_is_writable() -> None:
    """TensorFlow and NumPy get it like any other input."""
    spec = TensorSpec(
        name="x", tensor="x:0", dtype="int32", shape=(1,), default=np.zeros(1, "int32")
    )
    entry = signature_entry(Signature(name="s", inputs={"x": spec}, outputs={}))
    text = json.dumps({"s": json.loads(entry.model_dump_json())})
    again = manifest(Signature(name="s", inputs={}, outputs={})).model_copy(
        update={"signatures": {"s": entry}}
    )

    assert '"base64"' in text
    default = signatures_of(again)["s"].inputs["x"].default
    assert default is not None
    assert default.flags.writeable
