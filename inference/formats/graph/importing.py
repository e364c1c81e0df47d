"""Import of a screened graph, without what only its writer's version knew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorflow.python.framework import op_def_registry

from inference.backend import tf
from inference.errors import InvalidModel
from inference.formats.graph.graphdef import all_nodes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SHAPES = "_output_shapes"
_MAX_NAMED = 10


def import_graph(graph: Any, graph_def: Any) -> None:
    """Add `graph_def` to `graph`. Raise what TensorFlow raises."""
    try:
        _import(graph, graph_def)
    except ValueError as exc:
        # Recorded shapes may be wrong; TensorFlow infers them anyway.
        if _SHAPES not in str(exc):
            raise

        for node in all_nodes(graph_def):
            node.attr.pop(_SHAPES, None)

        _import(graph, graph_def)


def drop_unknown(graph_def: Any, producers: Iterable[Any] = ()) -> list[str]:
    """Drop attributes that this TensorFlow doesn't know, in place; return notes.

    A newer version adds one with a default that keeps the operation's old meaning;
    `producers`, the writer's definitions of operations, have it. Raise `InvalidModel`
    for another value: without it the results would be wrong.
    """
    defaults = {
        (operation.name, attribute.name): attribute.default_value
        for operation in producers
        for attribute in operation.attr
        if attribute.HasField("default_value")
    }
    passed_over: dict[str, str] = {}

    for node in all_nodes(graph_def):
        # TensorFlow itself ignores them, with a line in its log (2.21,
        # ValidateNodeDef).
        for name in list(_unknown(node)):
            if not _is_harmless(node, name, defaults.get((node.op, name))):
                passed_over.setdefault(name, f"{name} ('{node.name}', {node.op})")

            del node.attr[name]

    if not passed_over:
        return []

    named = ", ".join(list(passed_over.values())[:_MAX_NAMED])
    return [f"Attributes that TensorFlow {tf.__version__} doesn't have: {named}."]


def _is_harmless(node: Any, name: str, default: Any) -> bool:
    value = node.attr[name]

    if default is not None and value != default:
        raise InvalidModel(
            f"Node '{node.name}' ({node.op}) has the attribute '{name}', which "
            f"TensorFlow {tf.__version__} doesn't have, at another value than its "
            "default, so the operation can't be computed as written. Export the model "
            "with the version of TensorFlow that is installed here, or without it."
        )

    return default is not None or _is_empty(value)


def _import(graph: Any, graph_def: Any) -> None:
    with graph.as_default():
        tf.graph_util.import_graph_def(graph_def, name="")


def _unknown(node: Any) -> Iterator[str]:
    definition = op_def_registry.get(node.op)

    if definition is None:
        return

    known = {attribute.name for attribute in definition.attr}
    yield from (
        name for name in node.attr if name not in known and not name.startswith("_")
    )


def _is_empty(value: Any) -> bool:
    kind = value.WhichOneof("value")
    return (kind == "list" and not value.list.ByteSize()) or (
        kind == "s" and not value.s
    )
