"""Inputs that a client may leave out: training switches, and defaults of graphs."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from inference.backend import tf
from inference.dtypes import numpy_dtype
from inference.errors import InvalidModel
from inference.formats.graph.tensors import as_array

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference.types import Array, Signature, TensorSpec

MAX_DEFAULT_BYTES = 2**20
"""Limit of an input's default: the server reads it as JSON, at many times its size."""

TRAINING = {
    "is_train",
    "is_training",
    "keras_learning_phase",
    "learning_phase",
    "phase",
    "phase_train",
    "train",
    "train_flag",
    "train_phase",
    "training",
    "training_flag",
    "training_phase",
}
_RATE = r"_?(prob|probs|probability|rate|ratio)(_.*)?"
KEEP = re.compile(rf"(.*_)?keep({_RATE})?")
DROP = re.compile(rf"(.*_)?(drop{_RATE}|dropout({_RATE})?)")


def set_defaults(
    session: Any, signature: Signature, values: Mapping[str, float], notes: list[str]
) -> Signature:
    """Return the signature with a default for every input that has one.

    Training flags are False, keep probabilities 1 and dropout rates 0, whatever the
    graph's own default is. `values` are those found by their use, by tensor; other
    inputs are judged by name.
    """
    inputs = {
        name: _with_default(session, spec, values, notes)
        for name, spec in signature.inputs.items()
    }
    return replace(signature, inputs=inputs)


def inference_value(spec: TensorSpec, values: Mapping[str, float]) -> Array | None:
    """Return the value that a scalar of this use or name has outside training.

    `None` if it has no such meaning.
    """
    if spec.shape not in ((), None):
        return None

    if spec.tensor in values:
        return np.asarray(values[spec.tensor], numpy_dtype(spec.dtype))

    word = (
        spec.tensor.partition(":")[0].rpartition("/")[2].lower().rstrip("_0123456789")
    )
    floating = spec.dtype.startswith(("float", "bfloat"))

    if word in TRAINING and (spec.dtype == "bool" or spec.dtype.startswith("int")):
        return np.zeros((), numpy_dtype(spec.dtype))

    if floating and KEEP.fullmatch(word):
        return np.ones((), numpy_dtype(spec.dtype))

    if floating and DROP.fullmatch(word):
        return np.zeros((), numpy_dtype(spec.dtype))

    return None


def _with_default(
    session: Any, spec: TensorSpec, values: Mapping[str, float], notes: list[str]
) -> TensorSpec:
    operation = session.graph.get_tensor_by_name(spec.tensor).op
    # Published graphs may have dropout on by default.
    value = inference_value(spec, values)

    if value is not None:
        notes.append(f"Input '{spec.name}' is {value.item()} unless a request sets it.")
        return replace(spec, default=value)

    if operation.type != "PlaceholderWithDefault":
        return spec

    try:
        own = as_array(session.run(operation.inputs[0]))
    except tf.errors.OpError:
        # Only an input pipeline could compute it.
        return spec

    return replace(spec, default=checked_default(spec.name, own))


def checked_default(name: str, value: Array) -> Array:
    """Return `value`. Raise `InvalidModel` if it is too large for a manifest's JSON."""
    # `nbytes` of an object array counts pointers alone.
    strings = value.reshape(-1) if value.dtype == object else ()
    size = max(value.nbytes, sum(map(len, strings)))

    if size > MAX_DEFAULT_BYTES:
        raise InvalidModel(
            f"The default of the input '{name}' has {size:,} bytes; it may have "
            f"{MAX_DEFAULT_BYTES:,}. Make it a constant of the graph."
        )

    return value
