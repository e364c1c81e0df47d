"""Placeholders for the number of rows, which the graph can count itself.

TensorFlow 1's recurrent graphs make their initial state from one, by
`zero_state(batch_size)`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inference.backend import tf, tf1
from inference.formats.graph.dropouts import SETTINGS
from inference.formats.graph.graphdef import node_of, nodes_by_name, public_name
from inference.formats.graph.nodes import free_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inference.formats.graph.topology import Operation, Wire

COUNTED = -1
"""Default of such an input: not a number of rows."""

_NAME = re.compile(r"(.*_)?(batch_?size|bs|n_?batch|batch)(_.*)?")
_INTEGERS = {tf.int32, tf.int64}
_SIZES = {"Cast", "ConcatV2", "ExpandDims", "Identity", "Pack"}
_MAX_STEPS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCount:
    """The placeholder `tensor`, and the input whose rows it counts."""

    tensor: str
    rows_of: str

    def note(self) -> str:
        count, rows = public_name(self.tensor), public_name(self.rows_of)
        return f"'{count}' is the number of rows of '{rows}' unless a request sets it."


def find_row_counts(
    operations: Iterable[Operation], inputs: Iterable[str]
) -> list[RowCount]:
    """Find row counts among `inputs`, by use or name, if there are rows."""
    named = {wire.name: wire for each in operations for wire in each.outputs}
    wires = [named[name] for name in inputs if name in named]
    rows = max(filter(_has_rows, wires), key=_rank, default=None)

    if rows is None:
        return []

    return [
        RowCount(tensor=wire.name, rows_of=rows.name)
        for wire in wires
        if _is_number(wire) and (_is_named(wire) or _sizes_states(wire))
    ]


def count_rows(graph_def: Any, counts: Iterable[RowCount]) -> None:
    """Let the graph count rows where the input is negative, in place."""
    for count in counts:
        nodes = nodes_by_name(graph_def)
        node = nodes[node_of(count.tensor)]
        rows = nodes[node_of(count.rows_of)]
        added = _counting(free_name(f"{node.name}/counted", nodes), node, rows)

        for reader in graph_def.node:
            for position, tensor in enumerate(reader.input):
                if public_name(tensor) == node.name:
                    reader.input[position] = added[-1].name

        # Without a declared shape the placeholder would accept a list.
        node.attr["shape"].shape.Clear()
        graph_def.node.extend(added)


def _counting(name: str, count: Any, rows: Any) -> list[Any]:
    """Return nodes under `name`, of which the last has the number of rows."""
    dtype = count.attr["dtype"].type

    with tf.Graph().as_default() as graph:
        sent = tf1.placeholder(dtype, [], name="sent")
        counted = tf1.placeholder(rows.attr["dtype"].type, name="rows")
        number = tf.shape(counted, out_type=tf.dtypes.as_dtype(dtype))[0]
        tf.where(sent >= 0, sent, number, name="chosen")

    outside = {"sent": count.name, "rows": rows.name}
    made = [each for each in graph.as_graph_def().node if each.name not in outside]

    for node in made:
        node.name = f"{name}/{node.name}"
        node.input[:] = [outside.get(each, f"{name}/{each}") for each in node.input]

    return made


def _has_rows(wire: Wire) -> bool:
    """Return whether it is an array whose first dimension is open."""
    sizes = _sizes(wire) or [0]
    return wire.dtype is not None and sizes[0] < 0


def _rank(wire: Wire) -> int:
    return len(_sizes(wire) or ())


def _is_number(wire: Wire) -> bool:
    return wire.op.type in SETTINGS and wire.dtype in _INTEGERS and not _sizes(wire)


def _sizes(wire: Wire) -> list[int] | None:
    """Return the dimensions of a placeholder; `None` if its rank is unknown."""
    shape = wire.op.node.attr["shape"].shape
    return None if shape.unknown_rank else [dim.size for dim in shape.dim]


def _is_named(wire: Wire) -> bool:
    return bool(_NAME.fullmatch(wire.op.name.rpartition("/")[2].lower()))


def _sizes_states(wire: Wire) -> bool:
    """Return whether it is used only as the first size of arrays to be filled."""
    has_own_value = wire.op.type == "PlaceholderWithDefault"
    return not has_own_value and _all_lead(wire, _MAX_STEPS)


def _all_lead(wire: Wire, steps: int) -> bool:
    return bool(wire.readers) and all(
        _leads(wire, each, steps) for each in wire.readers
    )


def _leads(wire: Wire, reader: Operation, steps: int) -> bool:
    if not reader.inputs or reader.inputs[0] is not wire or not steps:
        return False

    if reader.type in _SIZES:
        return all(_all_lead(each, steps - 1) for each in reader.outputs)

    return reader.type == "Fill"
