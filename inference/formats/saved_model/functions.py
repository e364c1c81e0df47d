"""Functions of a SavedModel without signatures, made into signatures.

Nothing says which of them is meant for clients, so a sidecar must ask for it. The graph
has no node that calls them; the object graph has their inputs, outputs and captures.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo

from inference.backend import tf, tf1
from inference.formats.graph.nodes import handle_node
from inference.formats.saved_model.input_parts import flatten_structure
from inference.formats.saved_model.signature_defs import OWN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inference.formats.saved_model.input_parts import FlatSpec
    from inference.types import Shape

_SCOPE = "functions_of_the_model"


class _Uncallable(Exception):
    """A function that no request can call; the text says why."""


def list_functions(meta_graph: Any) -> list[str]:
    """Return the functions of the SavedModel's root object."""
    return sorted(_functions(meta_graph.object_graph_def.nodes))


def add_function_signatures(meta_graph: Any) -> dict[str, str]:
    """Add a signature for each function; return why others have none."""
    left_out: dict[str, str] = {}
    calls = _Calls(meta_graph)

    for name, traces in sorted(_functions(meta_graph.object_graph_def.nodes).items()):
        try:
            definition = calls.add(_only(traces))
            meta_graph.signature_def[name].CopyFrom(definition)
        except _Uncallable as exc:
            left_out[name] = str(exc)

    return left_out


class _Calls:
    """Calls of functions, added to the graph of `meta_graph`."""

    def __init__(self, meta_graph: Any) -> None:
        self._nodes = meta_graph.graph_def.node
        self._objects = meta_graph.object_graph_def.nodes
        self._functions = meta_graph.object_graph_def.concrete_functions
        bodies = meta_graph.graph_def.library.function
        self._bodies = {each.signature.name: each.signature for each in bodies}
        self._count = 0
        self._variables: dict[int, str] = {}

    def add(self, name: str) -> Any:
        """Add a call of the function `name`; return its signature."""
        body = self._bodies.get(name)

        if body is None or name not in self._functions:
            raise _Uncallable("the file doesn't have its graph")

        function = self._functions[name]
        captured = [self._captured(number) for number in function.bound_inputs]
        taken = body.input_arg[: max(0, len(body.input_arg) - len(captured))]
        self._count += 1
        prefix = f"{_SCOPE}/{self._count}"
        given = [_placeholder(f"{prefix}/{each.name}", each.type) for each in taken]
        call = _call_node(f"{prefix}/call", body, [*(n.name for n in given), *captured])
        definition = SignatureDef()

        for alias, info in _inputs(given, taken, function):
            definition.inputs[alias].CopyFrom(info)

        for alias, info in _outputs(call.name, body.output_arg, function):
            definition.outputs[alias].CopyFrom(info)

        self._nodes.extend([*given, call])
        return definition

    def _captured(self, number: int) -> str:
        """Return the node of a captured object, a variable or a constant."""
        known = 0 <= number < len(self._objects)
        captured = self._objects[number] if known else None
        kind = captured.WhichOneof("kind") if captured is not None else None

        if captured is not None and kind == "constant":
            return str(captured.constant.operation)

        if captured is None or kind != "variable":
            raise _Uncallable("it holds a lookup table or another resource")

        if number not in self._variables:
            name = f"{_SCOPE}/variable_{number}"
            handle = handle_node(name, captured.variable.dtype)
            handle.attr["shape"].shape.CopyFrom(captured.variable.shape)
            self._nodes.append(handle)
            self._variables[number] = name

        return self._variables[number]


def _functions(nodes: Any) -> dict[str, list[str]]:
    """Return the traces of each function of the root object, by its name there."""
    found: dict[str, list[str]] = {}

    for child in nodes[0].children if nodes else ():
        # The number may be out of range in a damaged file.
        node = nodes[child.node_id] if 0 <= child.node_id < len(nodes) else nodes[0]
        kind = node.WhichOneof("kind")

        if child.local_name.startswith(OWN):
            continue

        if kind == "function":
            found[child.local_name] = list(node.function.concrete_functions)
        elif kind == "bare_concrete_function":
            concrete = node.bare_concrete_function.concrete_function_name
            found[child.local_name] = [concrete]

    return found


def _only(traces: list[str]) -> str:
    if len(traces) == 1:
        return traces[0]

    if not traces:
        raise _Uncallable("it was never called before it was saved, so it has no graph")

    raise _Uncallable(f"it has {len(traces)} graphs, and which is meant isn't known")


def _placeholder(name: str, dtype: int) -> Any:
    node = tf1.NodeDef(name=name, op="Placeholder")
    node.attr["dtype"].type = dtype
    node.attr["shape"].shape.unknown_rank = True
    return node


def _call_node(name: str, body: Any, tensors: list[str]) -> Any:
    node = tf1.NodeDef(name=name, op="StatefulPartitionedCall", input=tensors)
    node.attr["f"].func.name = body.name
    node.attr["Tin"].list.type.extend(each.type for each in body.input_arg)
    node.attr["Tout"].list.type.extend(each.type for each in body.output_arg)
    return node


def _inputs(
    nodes: list[Any], taken: list[Any], function: Any
) -> Iterator[tuple[str, Any]]:
    """Yield inputs by the function's own names; parts of a composite have no shape."""
    flats = _flats(function.canonicalized_input_signature, len(taken))
    shapes = [
        None if flat.kind else flat.shape for flat in flats for _ in range(flat.count)
    ]

    for node, argument, shape in zip(nodes, taken, shapes, strict=True):
        yield argument.name, _info(f"{node.name}:0", argument.type, shape)


def _outputs(call: str, given: list[Any], function: Any) -> Iterator[tuple[str, Any]]:
    """Yield outputs, by key if the function returns a dictionary."""
    structure = function.output_signature
    flats = _flats(structure, len(given))
    keys = sorted(structure.dict_value.fields)
    infos = (_info(f"{call}:{at}", each.type, None) for at, each in enumerate(given))

    for place, flat in enumerate(flats):
        name = keys[place] if len(keys) == len(flats) else f"output_{place}"
        yield name, _whole(flat, list(islice(infos, flat.count)))


def _flats(structure: Any, count: int) -> list[FlatSpec]:
    flats = list(flatten_structure(structure))

    if sum(flat.count for flat in flats) != count:
        raise _Uncallable("its graph takes or gives other tensors than it declares")

    return flats


def _whole(flat: FlatSpec, tensors: list[Any]) -> Any:
    shape = tf.TensorShape(flat.shape).as_proto()

    if not flat.kind and flat.count == 1:
        tensors[0].tensor_shape.CopyFrom(shape)
        return tensors[0]

    info = TensorInfo(dtype=tensors[-1].dtype, tensor_shape=shape)

    if flat.kind == "sparse":
        indices, values, dense = tensors
        info.dtype = values.dtype
        info.coo_sparse.indices_tensor_name = indices.name
        info.coo_sparse.values_tensor_name = values.name
        info.coo_sparse.dense_shape_tensor_name = dense.name
    else:
        info.composite_tensor.type_spec.CopyFrom(flat.spec)
        info.composite_tensor.components.extend(tensors)

    return info


def _info(tensor: str, dtype: int, shape: Shape) -> Any:
    proto = tf.TensorShape(shape).as_proto()
    return TensorInfo(name=tensor, dtype=dtype, tensor_shape=proto)
