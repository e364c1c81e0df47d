"""Signatures whose outputs follow from their inputs, judged by their operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorflow.python.framework import op_def_registry

from inference.compiler.state.written_values import WRITES
from inference.formats.graph.graphdef import (
    all_nodes,
    function_names,
    nodes_by_name,
    reachable,
    used_functions,
)
from inference.formats.screening.operations import safe_operations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inference.types import Signature

_TABLE_WRITES = {f"LookupTable{verb}V2" for verb in ("Import", "Insert", "Remove")}

# What they hold is read, or lives no longer than a call; TensorFlow marks them as
# stateful so that it doesn't fold or share them.
_TENSOR_ARRAYS = {
    f"TensorArray{verb}V3"
    for verb in ("", "Close", "Concat", "Gather", "Read", "Scatter", "Size", "Split")
} | {"TensorArrayWriteV3"}
_STACKS = {f"Stack{verb}V2" for verb in ("", "Close", "Pop", "Push")}
_HANDLES = {"HashTableV2", "MutableHashTableV2", "AnonymousHashTable", "VarHandleOp"}
_READS = {
    *("LookupTableExportV2", "LookupTableFindV2", "LookupTableSizeV2"),
    *("ReadVariableOp", "ResourceGather", "ResourceGatherNd"),
    *("VarIsInitializedOp", "VariableShape"),
    *("BoostedTreesEnsembleResourceHandleOp", "BoostedTreesPredict"),
}
_CALLS = {"Case", "If", "StatefulPartitionedCall", "While"}
_CHECKS = {"Assert", "CheckNumerics", "CheckNumericsV2"}
_PASSING = {"DeepCopy", "DisableCopyOnRead", "GuaranteeConst", "StatelessRandomGetAlg"}
_REPEATABLE = _TENSOR_ARRAYS | _STACKS | _HANDLES | _READS | _CALLS | _CHECKS | _PASSING


def is_repeatable(graph_def: Any, signature: Signature) -> bool:
    """Return whether equal inputs are certain to give equal outputs.

    Not with random numbers that the inputs don't determine, with variables or tables
    that a call of any signature writes, or with operations that only the user allowed:
    those may read anything.
    """
    if any(node.op in WRITES | _TABLE_WRITES for node in all_nodes(graph_def)):
        return False

    functions = function_names(graph_def)
    return all(
        node.op in functions or _repeats(node.op)
        for node in _used_nodes(graph_def, signature)
    )


def _repeats(op: str) -> bool:
    stateful = op_def_registry.get(op).is_stateful
    return op in _REPEATABLE or (op in safe_operations() and not stateful)


def _used_nodes(graph_def: Any, signature: Signature) -> Iterator[Any]:
    """Yield the nodes that a call may run, and those of the functions they call."""
    nodes = nodes_by_name(graph_def)
    tensors = [spec.tensor for spec in signature.outputs.values()]
    used = [nodes[name] for name in reachable(nodes, tensors)]
    functions = used_functions(used, graph_def.library)
    yield from used

    for function in graph_def.library.function:
        if function.signature.name in functions:
            yield from function.node_def
