"""Narrowing of doubles: compared with exact fractions."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.inputs.narrowing import depends_on_text, narrow

if TYPE_CHECKING:
    from inference.types import Array

DTYPES = [
    pytest.param(np.dtype("f4"), id="float32"),
    pytest.param(np.dtype("f2"), id="float16"),
    pytest.param(np.dtype(ml_dtypes.bfloat16), id="bfloat16"),
]


def nearest(number: float, dtype: np.dtype[Any]) -> Array:
    """Return the value of `dtype` nearest to `number`, even where two are."""
    near = np.array([number]).astype(dtype)
    # Any rounding ends at most one value beside the right one.
    ends = [np.array([end]).astype(dtype) for end in (np.inf, -np.inf)]
    around = [near, *(np.nextafter(near, end) for end in ends)]
    finite = [each for each in around if np.isfinite(each[0])]
    exact = Fraction(number)
    return min(
        finite,
        key=lambda each: (
            abs(Fraction(float(each[0])) - exact),
            int(each.view(f"u{dtype.itemsize}")[0]) & 1,
        ),
    )


@pytest.mark.parametrize("dtype", DTYPES)
@given(number=st.floats(-60000, 60000), bits=st.integers(0, 44))
def test_doubles_are_narrowed_to_the_nearest_value(
    dtype: np.dtype[Any], number: float, bits: int
) -> None:
    # Values of few bits, and their neighbours, are where a rounding can go wrong.
    mask = np.uint64(2**64 - 2**bits)
    short = (np.array([number]).view(np.uint64) & mask).view(float)
    beside = [np.nextafter(short, way) for way in (np.inf, -np.inf)]

    for each in (short, *beside):
        wanted = nearest(float(each[0]), dtype)
        assert narrow(each, dtype).tobytes() == wanted.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1.0, 2.0**-30, 6.1e-5, 1e-40, 5e-8])
def test_only_halves_between_two_values_depend_on_their_text(
    dtype: np.dtype[Any], size: float
) -> None:
    low = np.array([size]).astype(dtype)
    high = (low.view(f"u{dtype.itemsize}") + 1).view(dtype)
    halfway = (low.astype(float) + high.astype(float)) / 2
    beside = np.nextafter(halfway, np.inf)

    assert depends_on_text(halfway, narrow(halfway, dtype))
    assert not depends_on_text(beside, narrow(beside, dtype))
    assert not depends_on_text(low.astype(float), low)


def test_doubles_are_kept_as_they_are() -> None:
    numbers = np.array([0.1, 1e300, -5e-324])

    assert narrow(numbers, np.dtype("f8")) is numbers
    assert not depends_on_text(numbers, numbers)


def test_a_number_beyond_the_range_becomes_infinity_without_a_warning() -> None:
    assert narrow(np.array([1e300]), np.dtype("f4"))[0] == np.inf
