"""Binary tensors: where they lie, and what isn't copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import pytest

from inference import InputMismatch
from service.codecs.v2.binary import ALIGNMENT, content, join_aligned, tensor
from tests.support.v2 import as_bytes

if TYPE_CHECKING:
    from inference import Array


@pytest.mark.parametrize("head", [0, 1, 63, 64, 65, 200])
def test_tensors_after_the_head_are_aligned(head: int) -> None:
    body = bytes(range(256))

    joined = join_aligned([body[:10], b"", body[10:]], head)
    found = tensor("x", "float32", (14,), joined[head : head + 56])

    assert bytes(joined) == body
    assert found.ctypes.data % ALIGNMENT == 0
    assert np.shares_memory(found, np.frombuffer(joined, np.uint8))


def test_an_input_at_an_odd_address_is_copied() -> None:
    body = join_aligned([bytes(64)], 0)

    found = tensor("x", "float64", (2,), body[1:17])

    assert found.flags.aligned
    assert not np.shares_memory(found, np.frombuffer(body, np.uint8))


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.bool_])
def test_an_output_is_not_copied(dtype: type) -> None:
    array: Array = np.ones((4, 3), dtype)

    sent = np.frombuffer(content(array), np.uint8)

    assert np.shares_memory(sent, array)
    assert bytes(sent) == as_bytes(array)


def test_an_output_in_columns_is_sent_in_rows() -> None:
    array = np.arange(6, dtype=np.int16).reshape(2, 3).T

    assert bytes(content(array)) == np.ascontiguousarray(array).tobytes()


def test_strings() -> None:
    array = np.array([[b"", b"abc"], [b"\xff", b"\0"]], object)
    data = bytes(content(array))

    assert data == as_bytes(array)
    assert tensor("x", "string", (2, 2), data).tolist() == array.tolist()

    with pytest.raises(InputMismatch, match="element 3 goes beyond the end"):
        tensor("x", "string", (2, 2), data[:-1])
