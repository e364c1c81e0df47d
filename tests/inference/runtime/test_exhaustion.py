from __future__ import annotations

import pytest

from inference.errors import InputMismatch, InsufficientMemory
from inference.runtime.exhaustion import explain_exhaustion

GIB = 1024**3
TEXT = (
    "OOM when allocating tensor with shape[{}] and type {} on /job:localhost/replica:0/"
    "task:0/device:CPU:0 by allocator mklcpu\n\t [[{{{{node y}}}}]]"
)


@pytest.mark.parametrize(
    ("shape", "dtype", "kind", "part"),
    [
        pytest.param(
            "2,268435457", "float", InputMismatch, "2,048.0 MiB", id="float32"
        ),
        pytest.param(
            "2,268435456", "float", InsufficientMemory, "2,048.0 MiB", id="fits"
        ),
        pytest.param("268435457", "double", InputMismatch, "2,048.0 MiB", id="float64"),
        pytest.param("4611686018427387904", "int64", InputMismatch, "MiB", id="huge"),
        pytest.param("2147483649", "bool", InputMismatch, "2,048.0 MiB", id="bool"),
        pytest.param("89478486", "string", InputMismatch, "2,048.0 MiB", id="string"),
        pytest.param("", "float", InsufficientMemory, "shape []", id="scalar"),
        pytest.param("8", "variant", InsufficientMemory, "shape [8]", id="odd type"),
    ],
)
def test_the_tensor_tells_whose_fault_it_is(
    shape: str, dtype: str, kind: type[Exception], part: str
) -> None:
    error = explain_exhaustion(TEXT.format(shape, dtype), 2 * GIB)

    assert type(error) is kind
    assert part in str(error)
    assert "Send fewer rows" in str(error)
    assert "/job" not in str(error) and "node" not in str(error)


def test_an_unknown_text_is_not_repeated() -> None:
    error = explain_exhaustion("Failed on /job:localhost", 2 * GIB)

    assert type(error) is InsufficientMemory
    assert "/job" not in str(error)
