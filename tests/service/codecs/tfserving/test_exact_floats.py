"""Floats of a body: narrowed from their text with one rounding."""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference import Signature, TensorSpec, bind
from service.codecs.tfserving.request import decode, decode_regular
from service.decoding.messages import Task
from service.decoding.worker import decode_task

DTYPES = {
    "float32": np.dtype("f4"),
    "float16": np.dtype("f2"),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
BODIES = {
    "regular": '{"instances": [%s]}',
    "regular rows": '{"instances": [{"x": [%s], "d": 0.5}]}',
    "long rows": f'{{"instances": [{{"x": [%s, {"1.0, " * 50}1.0], "d": [0.5]}}]}}',
    "irregular": (
        '{"inputs": {"x": [%s], "d": [[0.5], [1]]}, "seed": 9007199254740991}'
    ),
    "a single number": '{"inputs": %s}',
}


def signature(dtype: str, inputs: tuple[str, ...]) -> Signature:
    specs = {
        name: TensorSpec(
            name=name,
            tensor=f"{name}:0",
            dtype=dtype if name == "x" else "float64",
            shape=None,
        )
        for name in inputs
    }
    return Signature(
        name="serving_default",
        inputs=specs,
        outputs=specs,
        batchable=False,
        batchable_reason="",
        sample=None,
    )


def bound(body: str, dtype: str) -> Any:
    """Return the first number of `x`."""
    names = ("x", "d") if '"d"' in body else ("x",)
    call = decode(body.encode())
    return bind(signature(dtype, names), call.inputs, call.exact)["x"].reshape(-1)[:1]


def decoded(body: str, dtype: str) -> bytes:
    """Return the bytes of the first number, bound as a decoder process does it."""
    names = ("x", "d") if '"d"' in body else ("x",)
    task = Task(decode=decode, signatures={"s": signature(dtype, names)}, default="s")
    answer, buffers = decode_task(body.encode(), task)
    assert answer.error is None
    return bytes(buffers[0])[: DTYPES[dtype].itemsize]


@pytest.mark.parametrize("body", BODIES.values(), ids=list(BODIES))
def test_a_float32_is_rounded_once(body: str) -> None:
    number = bound(body % "7.038531e-26", "float32")

    # Rounded to a double first, it would end in fe.
    assert number.view(np.uint32)[0] == 0x15AE43FD
    assert decoded(body % "7.038531e-26", "float32") == number.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("body", BODIES.values(), ids=list(BODIES))
@given(seed=st.integers(0, 2**31 - 1), negative=st.booleans())
def test_a_text_beside_a_half_is_rounded_to_its_side(
    body: str, dtype: str, seed: int, negative: bool
) -> None:
    low, high = neighbours(seed, DTYPES[dtype])
    sign = "-" if negative else ""

    with localcontext(prec=400):
        half = (Decimal(float(low)) + Decimal(float(high))) / 2
        texts = (f"{half * (1 + Decimal(f'{step}e-40')):e}" for step in (-1, 1))
        below, above = (bound(body % (sign + text), dtype) for text in texts)

    assert abs(below)[0] == low
    assert abs(above)[0] == high


def neighbours(seed: int, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """Return two positive values of `dtype` with none between them."""
    kind = f"u{dtype.itemsize}"
    largest = int(np.array([np.inf]).astype(dtype).view(kind)[0]) - 2
    bits = np.array([seed % largest], kind)
    return bits.view(dtype)[0], (bits + 1).astype(kind).view(dtype)[0]


def test_a_long_integer_is_rounded_once() -> None:
    # As a double it lies halfway between two float32.
    number = 2**60 + 2**36 + 1

    assert bound(f'{{"instances": [{number}]}}', "float32")[0] == 2**60 + 2**37
    assert bound(f'{{"instances": [{number - 2}]}}', "float32")[0] == 2**60


def test_doubles_beside_a_narrow_input_are_as_written() -> None:
    body = b'{"inputs": {"x": [7.038531e-26], "d": [7.038531e-26]}}'
    call = decode(body)

    arrays = bind(signature("float32", ("x", "d")), call.inputs, call.exact)

    assert arrays["x"].view(np.uint32)[0] == 0x15AE43FD
    assert arrays["d"][0] == 7.038531e-26


def test_other_numbers_are_read_without_python_objects() -> None:
    call = decode_regular(b'{"instances": [[0.1, 2.5], [1, 16777216]]}', lists=False)

    assert call is not None
    assert bind(signature("float32", ("x",)), call.inputs)["x"].tolist()[1][1] == 2**24
