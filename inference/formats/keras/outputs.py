"""The outputs of a Keras model's inner layers, by name.

`dense` is what the first call of that layer gives and `dense@1` what its second does;
`lstm:1` is the second output of one call. `mobilenet/Conv_1` is a layer of a nested
model.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from inference.backend import tf
from inference.errors import InvalidSidecar
from inference.formats.graph.tensors import shape_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from inference.types import Shape

_MAX_COMPARED = 80  # difflib takes a name's length squared
_NEAREST = 3


def layer_shapes(model: Any) -> dict[str, Shape]:
    """Return the shape of each inner layer's output, by name, in the order of calls.

    Layers of nested models follow those of the model itself. Outputs that are ragged or
    sparse are left out, and so are inputs.
    """
    return {
        name: shape_of(tf.TensorShape(tensor.shape))
        for name, tensor in _outputs(model).items()
    }


def chosen_layers(
    asked: str | Sequence[str], model: Any, answers: Mapping[str, Any]
) -> list[str]:
    """Return the names of a sidecar's `layers` that aren't outputs of the model.

    `answers` are the model's own outputs by name. Raise `InvalidSidecar` for a name
    that the model lacks.
    """
    outputs = _outputs(model)

    if asked == "all":
        return [name for name in outputs if name not in answers]

    for name in asked:
        if name not in outputs:
            raise _unknown(name, outputs)

        if name in answers and answers[name] is not outputs[name]:
            raise InvalidSidecar(
                f"'layers': '{name}' is the name of an output of the model, which is "
                "another output of that layer. Leave it out."
            )

    return [name for name in dict.fromkeys(asked) if name not in answers]


def with_layers(keras: Any, model: Any, names: Sequence[str]) -> Any:
    """Return `model` with the outputs `names` of inner layers after its own."""
    if not names:
        return model

    inner = _in_graph(keras, model, names)
    return keras.Model(list(model.inputs), [*model.outputs, *inner.values()])


def _unknown(name: str, known: Collection[str]) -> InvalidSidecar:
    close = difflib.get_close_matches(name[:_MAX_COMPARED], known, n=_NEAREST)
    nearest = f" The nearest names are: {', '.join(close)}." if close else ""
    return InvalidSidecar(
        f"'layers': the model has no layer '{name}'.{nearest} "
        "tandem inspect --layers lists all."
    )


def _outputs(model: Any) -> dict[str, Any]:
    """Return the symbolic outputs of all layers, each of the model that calls it."""
    calls = list(_calls(model))
    found = {key: each for name, node in calls for key, each in _named(name, node)}

    for name, node in calls:
        if _is_model(_layer(node)):
            for inner, tensor in _outputs(_layer(node)).items():
                # A layer of the model itself may be named like a path.
                found.setdefault(f"{name}/{inner}", tensor)

    return found


def _in_graph(keras: Any, model: Any, names: Sequence[str]) -> dict[str, Any]:
    """Return the outputs `names` as tensors of the model's own graph, in this order."""
    calls = list(_calls(model))
    own = {key: each for name, node in calls for key, each in _named(name, node)}
    found = {name: own[name] for name in names if name in own}

    for number, (name, node) in enumerate(calls):
        inner = _below(name, node, [each for each in names if each not in own])

        if inner:
            # Keras makes no model that ends inside another one, so that one is called
            # again, with the layers as its outputs. Equal operations are merged later.
            made = _in_graph(keras, _layer(node), inner)
            again = keras.Model(
                list(_layer(node).inputs),
                list(made.values()),
                name=f"tandem_layers_{number}",
            )
            tensors = tf.nest.flatten(again(_inputs(node), **_training(node)))
            paths = [f"{name}/{each}" for each in made]
            found |= dict(zip(paths, tensors, strict=True))

    return {name: found[name] for name in names}


def _below(name: str, node: Any, names: Sequence[str]) -> list[str]:
    """Return those of `names` that lie in the nested model called by `node`."""
    prefix = f"{name}/"
    inner = [each.removeprefix(prefix) for each in names if each.startswith(prefix)]
    return inner if _is_model(_layer(node)) else []


def _calls(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield the calls of layers, as Keras' nodes, each with its name."""
    graph = getattr(model, "_functional", None) or model
    depths = getattr(graph, "_nodes_by_depth", {})
    nodes = [node for depth in sorted(depths, reverse=True) for node in depths[depth]]
    own = {id(node) for node in nodes}

    for node in nodes:
        layer = _layer(node)

        if not node.is_input:
            # A layer may have been called outside of this model too.
            calls = [id(each) for each in layer._inbound_nodes if id(each) in own]
            number = calls.index(id(node))
            yield f"{layer.name}@{number}" if number else layer.name, node


def _named(name: str, node: Any) -> Iterator[tuple[str, Any]]:
    for position, tensor in enumerate(tf.nest.flatten(node.outputs)):
        if _is_dense(tensor):
            yield f"{name}:{position}" if position else name, tensor


def _is_dense(tensor: Any) -> bool:
    if hasattr(tensor, "type_spec"):
        return isinstance(tensor.type_spec, tf.TensorSpec)

    return not (getattr(tensor, "sparse", False) or getattr(tensor, "ragged", False))


def _is_model(layer: Any) -> bool:
    """Return whether the layer is a model whose layers can be told apart."""
    graph = getattr(layer, "_functional", None) or layer
    return bool(getattr(graph, "_nodes_by_depth", None))


# Keras 2 calls these parts of a node otherwise than Keras 3.


def _layer(node: Any) -> Any:
    return node.operation if hasattr(node, "operation") else node.layer


def _inputs(node: Any) -> list[Any]:
    args, kwargs = _arguments(node)
    return list(tf.nest.flatten(args[0] if args else kwargs["inputs"]))


def _training(node: Any) -> dict[str, Any]:
    """Return the `training` that the layer is called with, if it is fixed."""
    given = _arguments(node)[1].get("training")
    return {} if given is None else {"training": given}


def _arguments(node: Any) -> tuple[Any, Any]:
    if hasattr(node, "arguments"):
        return node.arguments.args, node.arguments.kwargs

    return node.call_args, node.call_kwargs
