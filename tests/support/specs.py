"""Short ways to write a signature down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference.types import Signature, TensorSpec

if TYPE_CHECKING:
    from inference.types import Array, Shape


def spec(
    name: str = "x",
    dtype: str = "float32",
    shape: Shape = None,
    default: Array | None = None,
) -> TensorSpec:
    return TensorSpec(
        name=name, tensor=f"{name}:0", dtype=dtype, shape=shape, default=default
    )


def signature(*inputs: TensorSpec) -> Signature:
    return Signature(
        name="serving_default",
        inputs={item.name: item for item in inputs},
        outputs={"y": spec("y")},
    )
