"""Length checks for convolutions whose filter may be longer than their input.

TensorFlow 2.21 leaves the check to its kernels. Those of oneDNN
(core/kernels/mkl/mkl_conv_ops.cc) and of quantised graphs accept some inputs that are
too short, and return numbers without meaning.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from tensorflow.python.framework import op_def_registry

from inference.backend import tf, tf1
from inference.compiler.rewriting.forms import clean, inline
from inference.formats.graph.graphdef import all_nodes, node_of
from inference.formats.graph.session import SessionReference, background_session
from inference.formats.kernels.rebuilding import rebuild
from inference.formats.kernels.scopes import (
    Scope,
    attribute,
    scope_in,
    scope_of,
    write_function,
    write_graph,
)
from inference.runtime.guards import CHECK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from inference.formats.graph.source import Reference, Source
    from inference.types import Array, Signature

    Shape = tuple[int | None, ...] | None
    ShapeOf = Callable[[str], Shape]

_UNPADDED = {b"VALID", b"EXPLICIT"}
_SIGHTLESS = {"Conv"}
"""Correct for any length: oneDNN has no kernel for it."""


def check_lengths(graph: Any) -> Any:
    """Return `graph` as a GraphDef whose convolutions reject inputs that are too short.

    A convolution whose input is known to be long enough gets no check. In functions no
    lengths are known.
    """
    graph_def = graph.as_graph_def()
    library = {each.signature.name: each for each in graph_def.library.function}

    if any(is_unpadded(node) for node in graph_def.node):
        scope = scope_of(graph_def, ())
        _check_all(scope, lambda tensor: _shape(graph, tensor))
        write_graph(scope, graph_def)

    for function in library.values():
        if any(is_unpadded(node) for node in function.node_def):
            scope = scope_in(function, library)
            _check_all(scope, lambda _: None)
            write_function(scope, function, library)

    return graph_def


@contextmanager
def lengths_checked(source: Source) -> Iterator[None]:
    """Let `source` reject samples that are too short, until the block's end.

    Its framework may accept them, with outputs that no correct form reproduces.
    """
    if not any(map(is_unpadded, all_nodes(source.graph_def))):
        yield
        return

    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(_flat(source), name="")

    checked = check_lengths(graph)

    if not any(node.name.startswith(CHECK) for node in all_nodes(checked)):
        yield
        return

    with background_session() as session:
        rebuild(session, replace(source, graph_def=checked))
        source.reference = _Checked(
            lengths=SessionReference(session), answers=source.reference
        )
        yield


def _flat(source: Source) -> Any:
    # In functions no lengths are known, so all convolutions would be checked.
    try:
        return inline(source.graph_def, source.tensors())
    except Exception:
        # TensorFlow's optimisers raise any exception.
        return clean(source.graph_def)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """A source's outputs for inputs that are long enough."""

    lengths: Reference
    answers: Reference

    def __call__(
        self, signature: Signature, inputs: Mapping[str, Array]
    ) -> dict[str, Array]:
        self.lengths(signature, inputs)
        return self.answers(signature, inputs)


def is_unpadded(node: Any) -> bool:
    """Return whether `node` is a convolution whose input may be too short."""
    return _is_convolution(node.op) and attribute(node, "padding").s in _UNPADDED


@cache
def _is_convolution(op: str) -> bool:
    definition = op_def_registry.get(op) if "Conv" in op else None

    if definition is None or op in _SIGHTLESS:
        return False

    names = [argument.name for argument in definition.input_arg]
    attributes = {each.name for each in definition.attr}
    # A gradient gets the size of its result as an input, so there is nothing to check.
    return (
        names[:2] == ["input", "filter"]
        and "out_backprop" not in names
        and "padding" in attributes
    )


def _check_all(scope: Scope, shape_of: ShapeOf) -> None:
    for node in [each for each in scope.nodes.values() if is_unpadded(each)]:
        given, filters = (shape_of(tensor) for tensor in node.input[:2])
        window = _window(node, filters)

        if not window.is_covered_by(given):
            _check(scope, node, window)


def _check(scope: Scope, node: Any, window: _Window) -> None:
    inputs = {"given": node.input[0], "filter": node.input[1]}
    names = scope.graft(_graph(window, *_dtypes(node)), inputs, f"{CHECK}/{node.name}")
    node.input.append(f"^{node_of(names['check'])}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """The extent of a filter along its input's spatial axes, less the padding.

    `filters` are its lengths, `None` where they are known only at run time.
    """

    axes: tuple[int, ...]
    filters: tuple[int | None, ...]
    dilations: tuple[int, ...]
    padded: tuple[int, ...]

    def covers(self, filters: Sequence[Any]) -> list[Any]:
        """Return how many positions a filter of these lengths needs, by axis."""
        ways = zip(filters, self.dilations, self.padded, strict=True)
        return [(length - 1) * rate + 1 - padded for length, rate, padded in ways]

    def is_covered_by(self, given: Shape) -> bool:
        """Return whether an input of this shape is known to be long enough."""
        known = [length for length in self.filters if length is not None]

        if given is None or len(known) < len(self.axes):
            return False

        lengths = [given[axis] for axis in self.axes]
        return all(
            least <= 1 or (length is not None and length >= least)
            for length, least in zip(lengths, self.covers(known), strict=True)
        )


def _window(node: Any, filters: Shape) -> _Window:
    rank = 5 if "Conv3D" in node.op else 4
    first = 2 if _data_format(node).startswith(b"NC") else 1
    axes = range(first, first + rank - 2)
    return _Window(
        axes=tuple(axes),
        filters=tuple(filters or [None] * rank)[: rank - 2],
        dilations=tuple(_list(node, "dilations", rank, 1)[axis] for axis in axes),
        padded=tuple(_padding(node, rank)[axis] for axis in axes),
    )


def _data_format(node: Any) -> bytes:
    return bytes(attribute(node, "data_format").s) if _has(node, "data_format") else b""


def _padding(node: Any, rank: int) -> list[int]:
    """Return the padding by axis, both sides together."""
    name = "padding_list" if _has(node, "padding_list") else "explicit_paddings"
    sides = _list(node, name, 2 * rank, 0)
    return [sides[2 * axis] + sides[2 * axis + 1] for axis in range(rank)]


def _list(node: Any, name: str, length: int, default: int) -> list[int]:
    values = list(attribute(node, name).list.i) if _has(node, name) else []
    return values if len(values) == length else [default] * length


def _has(node: Any, name: str) -> bool:
    return any(each.name == name for each in op_def_registry.get(node.op).attr)


def _dtypes(node: Any) -> list[int]:
    arguments = op_def_registry.get(node.op).input_arg[:2]
    return [attribute(node, argument.type_attr).type for argument in arguments]


@cache
def _graph(window: _Window, dtype: int, filter_dtype: int) -> Any:
    """Return a GraphDef: `check` fails if `given` is shorter than `filter` covers."""
    rank = len(window.axes) + 2

    with tf.Graph().as_default() as graph:
        given = tf1.placeholder(dtype, [None] * rank, name="given")
        filters = tf1.placeholder(filter_dtype, [*window.filters, None, None], "filter")
        known = None not in window.filters
        lengths = window.filters if known else tf.unstack(tf.shape(filters))[:-2]
        size: list[Any] = [0] * rank

        for axis, least in zip(window.axes, window.covers(lengths), strict=True):
            size[axis] = max(least, 0) if known else tf.maximum(least, 0)

        # Grappler would drop a node without readers: checks are added after all
        # optimisation, and a served graph isn't optimised again. The slice takes no
        # channels, so it copies nothing.
        tf.slice(given, [0] * rank, size, name="check")

    return graph.as_graph_def()


def _shape(graph: Any, tensor: str) -> Shape:
    shape = graph.get_tensor_by_name(tensor).shape
    return None if shape.rank is None else tuple(shape.as_list())
