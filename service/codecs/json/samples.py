"""Example requests: the values that a model accepted when it was compiled. Pure."""

from __future__ import annotations

import base64
import math
from functools import reduce
from typing import TYPE_CHECKING, Any

from inference import Sample

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inference import Signature, TensorSpec

NO_SAMPLE = Sample(shapes={})


def required_specs(signature: Signature) -> list[TensorSpec]:
    return [signature.inputs[name] for name in signature.required]


def in_rows(signature: Signature, specs: list[TensorSpec]) -> bool:
    """Return whether rows are the first dimension of every tensor."""
    return bool(specs) and all(
        spec.shape is not None
        and len(spec.shape) > 0
        and spec.shape[0] is None
        and spec.part is None
        for spec in (*specs, *(signature.outputs[name] for name in signature.usual))
    )


def count_values(specs: Iterable[TensorSpec], sample: Sample) -> int:
    return sum(math.prod(sample_shape(spec, sample)) for spec in specs)


def sample_shape(spec: TensorSpec, sample: Sample) -> tuple[int, ...]:
    guessed = tuple(1 if size is None else size for size in spec.shape or ())
    # The parts of a composite tensor must fit together: one value, at the start.
    return guessed if spec.part else tuple(sample.shapes.get(spec.name, guessed))


def sample_value(spec: TensorSpec, sample: Sample) -> Any:
    """Return an input's nested lists, as JSON has them."""
    known = one_row(spec)
    if known is not None:
        return known

    shape = sample_shape(spec, sample)
    return reduce(
        lambda value, size: [value] * size, reversed(shape), sample_leaf(spec, sample)
    )


def one_row(spec: TensorSpec) -> list[int] | None:
    """Return the shape or row splits of a composite tensor of one row and value."""
    part = spec.part
    if part is None:
        return None

    if part.role == "shape":
        return [size or 1 for size in part.shape or spec.shape or ()]

    return [0, 1] if part.role.startswith("row_splits") else None


def sample_leaf(spec: TensorSpec, sample: Sample) -> Any:
    if spec.dtype == "string":
        return _text(sample.texts.get(spec.name, b""))

    if spec.dtype == "bool":
        return False

    fill = sample.fills.get(spec.name, 0)
    return int(fill) if "int" in spec.dtype else float(fill)


def rows_or_columns(signature: Signature, sample: Sample) -> dict[str, Any]:
    """Return a predict body's values under `instances`, or `inputs` without rows."""
    specs = required_specs(signature)
    values = {spec.name: sample_value(spec, sample) for spec in specs}
    if not in_rows(signature, specs):
        return {"inputs": _without_name(values)}

    row = {name: value[0] for name, value in values.items()}
    return {"instances": [_without_name(row)]}


def _without_name(values: dict[str, Any]) -> Any:
    """Return the values as a client sends them: a single one without its name."""
    return next(iter(values.values())) if len(values) == 1 else values


def _text(text: bytes) -> Any:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(text).decode("ascii")}
