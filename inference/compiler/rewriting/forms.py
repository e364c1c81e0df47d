"""The forms that a source's graph can take, from the fastest to the plain one.

None is trusted: an optimised graph is served only after it gave the source's outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from tensorflow.python.grappler import tf_optimizer

from inference.backend import config_pb2, tf1
from inference.compiler.rewriting.control_inputs import drop_redundant_controls
from inference.compiler.rewriting.folding import fold_scales
from inference.formats.graph.graphdef import (
    FORWARDS,
    all_nodes,
    node_of,
    nodes_by_name,
    prune,
)
from inference.formats.graph.nodes import become_constant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inference.formats.graph.source import Source
    from inference.types import Array

FOLDING = ("constfold", "arithmetic")
PASSES = (*FOLDING, "remap", "dependency")
FREEZE_LIMIT = 1536 * 1024 * 1024
"""Bytes of weights that may be constants in one protobuf, which ends at 2 GiB."""

_READS = {"ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape"}
_LOWER = "_lower_using_switch_merge"


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphForm:
    """One form of a graph; `variables` are the values left as variables, by handle."""

    level: str
    graph_def: Any
    variables: dict[str, Array]


def form_builders(source: Source) -> list[tuple[str, Callable[[], GraphForm]]]:
    """Return each form's name and builder, best first. Builders may raise anything."""
    tensors = source.tensors()
    inlined = cache(partial(inline, source.graph_def, tensors))

    def frozen(level: str, passes: Sequence[str]) -> GraphForm:
        graph_def, left = freeze(inlined(), source.variables)
        folded = rewrite(graph_def, tensors, FOLDING)
        fold_scales(folded, tensors)
        return _form(level, prune(rewrite(folded, tensors, passes), tensors), left)

    without_remap = tuple(name for name in PASSES if name != "remap")
    builders: list[tuple[str, Callable[[], GraphForm]]] = [
        ("full", partial(frozen, "full", PASSES)),
        ("without remap", partial(frozen, "without remap", without_remap)),
        ("inlined", lambda: _form("inlined", inlined(), source.variables)),
        ("none", partial(plain, source)),
    ]
    return builders if _weight_bytes(source) <= FREEZE_LIMIT else builders[2:]


def plain(source: Source) -> GraphForm:
    """Return the source's graph as it was read."""
    return _form("none", clean(source.graph_def), source.variables)


def clean(graph_def: Any) -> Any:
    """Return a copy without the metadata of the machine that exported it."""
    copy = tf1.GraphDef()
    copy.CopyFrom(graph_def)
    strip_metadata(copy)
    return copy


def strip_metadata(graph_def: Any) -> None:
    """Drop devices, colocations and recorded shapes, in place."""
    for node in all_nodes(graph_def):
        node.device = ""

        for key in ("_class", "_output_shapes"):
            if key in node.attr:
                del node.attr[key]

    for function in graph_def.library.function:
        # It names an implementation for another device; the inliner fails on it.
        if "api_implements" in function.attr:
            del function.attr["api_implements"]


def inline(graph_def: Any, tensors: Sequence[str]) -> Any:
    """Return a flat copy: calls replaced by bodies, loops and branches left whole."""
    flat = clean(graph_def)
    # The inliner would lower loops and branches to Switch and Merge nodes.
    lowered = _set_lowering(flat, value=False)
    inlined = rewrite(flat, tensors, ("function",))

    if lowered:
        _set_lowering(inlined, value=True)

    return prune(inlined, tensors)


def rewrite(graph_def: Any, tensors: Sequence[str], passes: Sequence[str]) -> Any:
    """Return a copy after TensorFlow's own optimiser; `tensors` keep their names."""
    meta_graph = tf1.MetaGraphDef(graph_def=graph_def)

    for node in meta_graph.graph_def.node:
        # The optimiser fuses only operations that are placed on a CPU.
        node.device = "/device:CPU:0"

    # The optimiser reads the fetched tensors from this collection.
    meta_graph.collection_def["train_op"].node_list.value.extend(tensors)
    config = config_pb2.ConfigProto()
    options = config.graph_options.rewrite_options
    # By default graphs of fewer than four nodes are skipped.
    options.min_graph_nodes = -1
    options.optimizers.extend(passes)
    rewritten = tf_optimizer.OptimizeGraph(config, meta_graph)
    strip_metadata(rewritten)
    return rewritten


def freeze(graph_def: Any, variables: dict[str, Array]) -> tuple[Any, dict[str, Array]]:
    """Return a copy whose reads of variables are constants, and the variables left.

    A variable stays one if more than reads use it: a loop takes it, rows are gathered
    from it without a copy, or the model assigns it.
    """
    frozen = tf1.GraphDef()
    frozen.CopyFrom(graph_def)
    nodes = nodes_by_name(frozen)
    escaping = escaping_variables(frozen)
    gathered: set[str] = set()

    for node in frozen.node:
        handle = _handle(node, nodes)

        if handle is None or handle in escaping or handle not in variables:
            continue

        if node.op == "ReadVariableOp":
            become_constant(node, variables[handle], dtype=node.attr["dtype"].type)
        else:
            gathered.add(handle)

    drop_redundant_controls(frozen)
    kept = escaping | gathered
    return frozen, {name: variables[name] for name in variables if name in kept}


def escaping_variables(graph_def: Any) -> set[str]:
    """Return the variables whose handle reaches an operation not known to only read."""
    nodes = nodes_by_name(graph_def)
    found = set()

    for node in graph_def.node:
        if node.op in _READS or node.op in FORWARDS:
            continue

        for tensor in node.input:
            handle = _origin(tensor, nodes)

            if handle is not None and not tensor.startswith("^"):
                found.add(handle)

    return found


def _form(level: str, graph_def: Any, variables: dict[str, Array]) -> GraphForm:
    nodes = nodes_by_name(graph_def)
    present = {name: value for name, value in variables.items() if name in nodes}
    return GraphForm(level=level, graph_def=graph_def, variables=present)


def _handle(node: Any, nodes: dict[str, Any]) -> str | None:
    """Return the variable that `node` reads from; `None` if it isn't a read."""
    return _origin(node.input[0], nodes) if node.op in _READS else None


def _origin(tensor: str, nodes: dict[str, Any]) -> str | None:
    """Return the variable whose handle arrives as `tensor`, through identities."""
    node = nodes.get(node_of(tensor))

    while node is not None and node.op in FORWARDS:
        position = int(tensor.partition(":")[2] or 0)
        tensor = node.input[position]
        node = nodes.get(node_of(tensor))

    return node.name if node is not None and node.op == "VarHandleOp" else None


def _set_lowering(graph_def: Any, *, value: bool) -> bool:
    changed = False

    for node in all_nodes(graph_def):
        if _LOWER in node.attr and node.attr[_LOWER].b != value:
            node.attr[_LOWER].b = value
            changed = True

    return changed


def _weight_bytes(source: Source) -> int:
    return sum(value.nbytes for value in source.variables.values())
