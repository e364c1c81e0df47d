"""Lookup tables: contents read from a source and written into an artifact.

The artifact has keys and values, not the asset file or the initializer, so loading it
reads no foreign file and runs no main op.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from inference.backend import tf, tf1
from inference.formats.graph.source import Table
from inference.formats.graph.tensors import as_array
from inference.inputs.samples import WORDS

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, kw_only=True)
class TableKind:
    """The operations that read and fill a table, by resource or by reference."""

    export: Callable[..., Any]
    fill: Callable[..., Any]


_RESOURCE = tf.raw_ops.LookupTableExportV2
_STATIC = TableKind(
    export=_RESOURCE,
    fill=lambda table, keys, values: tf.raw_ops.InitializeTableV2(
        table_handle=table, keys=keys, values=values
    ),
)
_MUTABLE = TableKind(
    export=_RESOURCE,
    fill=lambda table, keys, values: tf.raw_ops.LookupTableImportV2(
        table_handle=table, keys=keys, values=values
    ),
)
_DENSE = TableKind(
    export=_RESOURCE,
    # Its import takes whole buckets, in a shape that no export returns.
    fill=lambda table, keys, values: tf.raw_ops.LookupTableInsertV2(
        table_handle=table, keys=keys, values=values
    ),
)
_STATIC_REF = TableKind(
    export=tf.raw_ops.LookupTableExport,
    fill=lambda table, keys, values: tf.raw_ops.InitializeTable(
        table_handle=table, keys=keys, values=values
    ),
)

TABLES = {
    "HashTable": _STATIC_REF,
    "HashTableV2": _STATIC,
    "MutableHashTableV2": _MUTABLE,
    "MutableHashTableOfTensorsV2": _MUTABLE,
    "MutableDenseHashTableV2": _DENSE,
}


def read_tables(graph_def: Any, session: Any) -> list[Table]:
    """Return the contents of the tables of `graph_def`, initialised in `session`."""
    return [_read(node, session) for node in graph_def.node if node.op in TABLES]


def table_texts(tables: list[Table]) -> list[tuple[bytes, ...]]:
    """Return some keys of each table of strings, with strings that may be in none."""
    return [
        (*table.keys.reshape(-1)[:8].tolist(), *WORDS)
        for table in tables
        if table.keys.dtype == object
    ]


def fill_tables(graph: Any, tables: list[Table]) -> list[Any]:
    """Add to the current graph the operations that fill `tables`; return them."""
    fills = []

    for table in tables:
        node = graph.get_operation_by_name(table.node)
        kind = TABLES[node.type]
        keys = _constant(table.keys, node.get_attr("key_dtype"))
        values = _constant(table.values, node.get_attr("value_dtype"))
        fills.append(kind.fill(node.outputs[0], keys, values))

    return fills


def rename_tables(graph_def: Any) -> None:
    """Name tables after their nodes, in place."""
    for node in graph_def.node:
        if node.op in TABLES:
            # Shared names may contain the exporter's paths.
            node.attr["shared_name"].s = node.name.encode()
            node.attr["container"].s = b""


def _read(node: Any, session: Any) -> Table:
    with session.graph.as_default():
        handle = session.graph.get_tensor_by_name(f"{node.name}:0")
        keys, values = session.run(
            TABLES[node.op].export(
                table_handle=handle,
                Tkeys=node.attr["key_dtype"].type,
                Tvalues=node.attr["value_dtype"].type,
            )
        )

    if TABLES[node.op] is _DENSE:
        blanks = session.run(list(handle.op.inputs))
        shape = tf.TensorShape(node.attr["value_shape"].shape)
        keys, values = _entries(keys, values, blanks, shape)

    return Table(node=node.name, keys=as_array(keys), values=as_array(values))


def _entries(
    keys: Any, values: Any, blanks: list[Any], value_shape: Any
) -> tuple[Any, Any]:
    """Return the used entries of a dense table, without those of a blank key."""
    keys = keys.reshape(len(keys), *np.shape(blanks[0]))
    values = values.reshape(len(values), *value_shape)
    used = [not any(np.array_equal(key, blank) for blank in blanks) for key in keys]
    return keys[used], values[used]


def _constant(value: Any, dtype: Any) -> Any:
    return tf1.constant(value, dtype=dtype, shape=value.shape)
