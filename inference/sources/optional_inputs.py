"""Inputs that a client may leave out: switches of training, and defaults of graphs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from inference.backend import tf
from inference.errors import InvalidModel
from inference.samples import numpy_dtype
from inference.sources.tensors import as_array

if TYPE_CHECKING:
    from inference.types import Array, Signature, TensorSpec

MAX_DEFAULT_BYTES = 2**20
"""Of an input's default: the server reads it as JSON, at many times its size."""

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
KEEP = {"keep", "keep_prob", "keep_probability", "keep_rate", "dropout_keep_prob"}
DROP = {"drop_prob", "drop_rate", "dropout", "dropout_prob", "dropout_rate"}


def set_defaults(session: Any, signature: Signature, notes: list[str]) -> Signature:
    """The signature with a default for every input that has one.

    Training flags are False, keep probabilities 1 and dropout rates 0, whatever the
    graph's own default: a published graph may have dropout on. A default that only an
    input pipeline could compute is none.
    """
    inputs = {
        name: _with_default(session, spec, notes)
        for name, spec in signature.inputs.items()
    }
    return replace(signature, inputs=inputs)


def inference_value(spec: TensorSpec) -> Array | None:
    """The value that a scalar of this name has outside training, if it has one."""
    if spec.shape not in ((), None):
        return None

    word = (
        spec.tensor.partition(":")[0].rpartition("/")[2].lower().rstrip("_0123456789")
    )
    floating = spec.dtype.startswith(("float", "bfloat"))

    if word in TRAINING and (spec.dtype == "bool" or spec.dtype.startswith("int")):
        return np.zeros((), numpy_dtype(spec.dtype))

    if word in KEEP and floating:
        return np.ones((), numpy_dtype(spec.dtype))

    if word in DROP and floating:
        return np.zeros((), numpy_dtype(spec.dtype))

    return None


def _with_default(session: Any, spec: TensorSpec, notes: list[str]) -> TensorSpec:
    operation = session.graph.get_tensor_by_name(spec.tensor).op
    by_name = inference_value(spec)

    if by_name is not None:
        notes.append(
            f"Input '{spec.name}' is {by_name.item()} unless a request sets it."
        )
        return replace(spec, default=by_name)

    if operation.type != "PlaceholderWithDefault":
        return spec

    try:
        value = session.run(operation.inputs[0])
    except tf.errors.OpError:
        return spec

    return replace(spec, default=checked_default(spec.name, as_array(value)))


def checked_default(name: str, value: Array) -> Array:
    """Raises `InvalidModel` for a default that doesn't fit into a manifest's JSON."""
    strings = value.reshape(-1) if value.dtype == object else ()
    size = max(value.nbytes, sum(map(len, strings)))

    if size > MAX_DEFAULT_BYTES:
        raise InvalidModel(
            f"The default of the input '{name}' has {size:,} bytes; it may have "
            f"{MAX_DEFAULT_BYTES:,}. Make it a constant of the graph."
        )

    return value
