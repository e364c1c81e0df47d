"""Large constants and variables of a graph, moved out of it into files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from inference.artifacts.weights import (
    LARGE,
    OWN_FILE,
    PACKED,
    PAGE,
    Weight,
    file_lengths,
)
from inference.backend import tf
from inference.formats.graph.nodes import become_read, handle_node

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from inference.artifacts.artifact import Artifact
    from inference.types import Array

Identity: TypeAlias = tuple[str, str, tuple[int, ...]]
"""A value's digest, dtype and shape; values with equal ones are the same value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalValue:
    """A value that leaves the graph.

    `owner` is its variable, if a model may write to it: such a value is never shared,
    even with others that start out equal.
    """

    value: Array
    identity: Identity
    owner: str = ""


@dataclass(slots=True, kw_only=True)
class Values:
    """Values by the name of the `VarHandleOp` that holds them.

    `small` are assigned from constants of the graph: strings can't be mapped, and a
    scalar isn't worth a page.
    """

    large: dict[str, ExternalValue] = field(default_factory=dict)
    small: dict[str, Array] = field(default_factory=dict)


def externalize(
    graph_def: Any, variables: dict[str, Array], *, written: Collection[str] = ()
) -> Values:
    """Turn the large constants of `graph_def` into variables, in place.

    The node keeps its name and becomes the read, so that no consumer changes. Equal
    constants read one variable, which may be one of `variables` that isn't among the
    `written`. Return the values of all variables.
    """
    values = _variable_values(variables, written)
    handles: dict[Identity, str] = {}
    added = []
    framed = any(node.op == "Enter" for node in graph_def.node)

    for name, large in values.large.items():
        if not large.owner:
            handles.setdefault(large.identity, name)

    for node in graph_def.node:
        constant = _large_constant(node, framed=framed)

        if constant is None:
            continue

        identity = _identity(constant)

        if identity not in handles:
            handle = _handle(node, constant)
            added.append(handle)
            handles[identity] = handle.name
            values.large[handle.name] = ExternalValue(value=constant, identity=identity)

        become_read(node, handles[identity], node.attr["dtype"].type)

    graph_def.node.extend(added)
    return values


def _variable_values(variables: dict[str, Array], written: Collection[str]) -> Values:
    values = Values()

    for name, value in variables.items():
        if not _mappable(value):
            values.small[name] = value
            continue

        values.large[name] = ExternalValue(
            value=value,
            identity=_identity(value),
            owner=name if name in written else "",
        )

    return values


class WeightWriter:
    """Writer of values to an artifact's files, each value once.

    A small value starts on a page of `weights.bin`, a large one has its own file.
    Existing values other than `weights` are removed.
    """

    def __init__(self, artifact: Artifact, weights: Sequence[Weight] = ()) -> None:
        self.weights = list(weights)
        self._artifact = artifact
        self._known = {
            ((weight.sha256, weight.dtype, weight.shape), ""): weight
            for weight in weights
        }
        self._offsets = {
            (weight.sha256, ""): weight.offset
            for weight in weights
            if weight.offset is not None
        }
        self._end = file_lengths(weights).get(PACKED, 0)
        self._leave_only(file_lengths(weights).keys())

    def write(self, large: ExternalValue) -> Weight:
        """Return where the value is stored; write it unless it is there."""
        key = (large.identity, large.owner)

        if key not in self._known:
            self._known[key] = self._weight(large, feed_name(len(self.weights)))
            self.weights.append(self._known[key])

        return self._known[key]

    def _leave_only(self, files: Collection[str]) -> None:
        for path in self._artifact.large_weights.glob("*"):
            if f"{LARGE}/{path.name}" not in files:
                path.unlink()

        with self._artifact.weights.open("ab") as packed:
            packed.truncate(self._end)

    def _weight(self, large: ExternalValue, feed: str) -> Weight:
        digest, dtype, shape = large.identity
        content = _bytes(large.value)
        small = content.nbytes < OWN_FILE
        offset = self._pack(content, (digest, large.owner)) if small else None
        weight = Weight(
            feed=feed,
            dtype=dtype,
            shape=shape,
            sha256=digest,
            offset=offset,
            nbytes=content.nbytes,
        )

        if offset is None and not (self._artifact.folder / weight.file).exists():
            self._artifact.large_weights.mkdir(exist_ok=True)
            # Not by `tofile`, whose error on a full disk has no number.
            (self._artifact.folder / weight.file).write_bytes(content.data)

        return weight

    def _pack(self, content: Array, key: tuple[str, str]) -> int:
        if key in self._offsets:
            return self._offsets[key]

        # Rounded up to a page, so that the value can be mapped.
        offset = -(-self._end // PAGE) * PAGE

        with self._artifact.weights.open("r+b") as file:
            file.seek(offset)
            file.write(content.data)

        self._offsets[key] = offset
        self._end = offset + content.nbytes
        return offset


def feed_name(position: int) -> str:
    return f"tandem/weight_{position}"


def _handle(node: Any, value: Array) -> Any:
    handle = handle_node(f"{node.name}/handle", node.attr["dtype"].type)
    handle.attr["shape"].shape.CopyFrom(tf.TensorShape(value.shape).as_proto())
    return handle


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


def _identity(value: Array) -> Identity:
    digest = hashlib.sha256(_bytes(value).data).hexdigest()
    return digest, str(tf.dtypes.as_dtype(value.dtype).name), value.shape


def _bytes(value: Array) -> Array:
    return np.ascontiguousarray(value).reshape(-1).view(np.uint8)
