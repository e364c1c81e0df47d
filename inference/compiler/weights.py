"""Moves a graph's values out of it: large constants and variables into one file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from inference.artifact import PAGE, Weight
from inference.backend import tf
from inference.sources.nodes import become_read, handle_node

if TYPE_CHECKING:
    from pathlib import Path

    from inference.types import Array


@dataclass(slots=True, kw_only=True)
class Values:
    """Values by the name of the `VarHandleOp` that holds them.

    `small` are assigned from constants of the graph: strings can't be mapped, and a
    scalar isn't worth a page.
    """

    large: dict[str, Array] = field(default_factory=dict)
    small: dict[str, Array] = field(default_factory=dict)

    def add(self, handle: str, value: Array) -> None:
        values = self.large if _mappable(value) else self.small
        values[handle] = value


def externalize(graph_def: Any, variables: dict[str, Array]) -> Values:
    """Turn the large constants of `graph_def` into variables, in place.

    The node keeps its name and becomes the read, so that no consumer changes. Returns
    the values of all variables.
    """
    values = Values()
    handles = []
    framed = any(node.op == "Enter" for node in graph_def.node)

    for name, value in variables.items():
        values.add(name, value)

    for node in graph_def.node:
        constant = _large_constant(node, framed=framed)

        if constant is not None:
            handle = handle_node(f"{node.name}/handle", node.attr["dtype"].type)
            handle.attr["shape"].shape.CopyFrom(
                tf.TensorShape(constant.shape).as_proto()
            )
            handles.append(handle)
            become_read(node, handle.name, node.attr["dtype"].type)
            values.large[handle.name] = constant

    graph_def.node.extend(handles)
    return values


def write_weights(path: Path, values: dict[str, Array]) -> list[Weight]:
    """Write each value at the start of a page; returns where each is."""
    weights = []
    offset = 0

    with path.open("wb") as file:
        for position, value in enumerate(values.values()):
            file.seek(offset)
            contiguous = np.ascontiguousarray(value)
            contiguous.reshape(-1).view(np.uint8).tofile(file)
            weights.append(
                Weight(
                    feed=feed_name(position),
                    dtype=_tensorflow_name(value),
                    shape=value.shape,
                    offset=offset,
                    nbytes=contiguous.nbytes,
                )
            )
            offset += -(-contiguous.nbytes // PAGE) * PAGE

    return weights


def feed_name(position: int) -> str:
    return f"tandem/weight_{position}"


def _large_constant(node: Any, *, framed: bool) -> Array | None:
    # Inside a TF1 loop a constant belongs to the loop's frame through its control
    # input; a read of a variable outside the frame can't stand in for it.
    if node.op != "Const" or (framed and node.input):
        return None

    if _declared_bytes(node) < PAGE:
        return None

    value: Array = tf.make_ndarray(node.attr["value"].tensor)
    return value if _mappable(value) else None


def _declared_bytes(node: Any) -> int:
    tensor = node.attr["value"].tensor
    elements = tf.TensorShape(tensor.tensor_shape).num_elements() or 0
    return int(elements * tf.dtypes.as_dtype(tensor.dtype).size)


def _mappable(value: Array) -> bool:
    return value.dtype != object and value.nbytes >= PAGE


def _tensorflow_name(value: Array) -> str:
    return str(tf.dtypes.as_dtype(value.dtype).name)
