"""Adaptation of a graph to the CPU that serves it, before it is first run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inference.errors import InvalidModel, first_line
from inference.formats.kernels.biases import fix_biases, may_be_misread
from inference.formats.kernels.channels_first import is_channels_first, to_channels_last
from inference.formats.kernels.dilations import fill_dilations, is_dilated
from inference.formats.kernels.image_decoders import guard_decoders, is_unguarded
from inference.formats.kernels.scopes import (
    Scope,
    scope_in,
    scope_of,
    write_function,
    write_graph,
)
from inference.formats.kernels.wide_sums import is_narrow, widen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A kind of rewrite: the nodes that need it, how it is done, and its note.

    `rewrite` returns the number of operations that it changed.
    """

    needed: Callable[[Any], bool]
    rewrite: Callable[[Scope], int]
    note: str


STEPS = (
    Step(
        needed=may_be_misread,
        rewrite=fix_biases,
        note="Biases that would be added to columns, since there are as many columns "
        "as channels: {count}, added to the channels, as Keras means it.",
    ),
    Step(
        needed=is_channels_first,
        rewrite=to_channels_last,
        note="Channels-first operations (NCHW): {count}, computed channels last "
        "(NHWC), because TensorFlow has no other kernels on a CPU.",
    ),
    Step(
        needed=is_dilated,
        rewrite=fill_dilations,
        note="Dilated convolutions: {count}, computed with dilated filters, because "
        "not every CPU has a kernel for them.",
    ),
    Step(
        needed=is_narrow,
        rewrite=widen,
        note="Operations on float16 or bfloat16: {count}, computed in float32, because "
        "TensorFlow's CPU kernels lose terms of long sums, or are missing.",
    ),
    Step(
        needed=is_unguarded,
        rewrite=guard_decoders,
        note="Image decoders with an open number of channels, or another dtype than "
        "uint8: {count}, behind a check of the first bytes, because TensorFlow can't "
        "decode all formats safely; JPEG, PNG, GIF, BMP and still WebP are accepted.",
    ),
)
"""Rewrites in order: each sees the results of those before it."""


def adapt(
    graph_def: Any, roots: Iterable[str], steps: Sequence[Step] = STEPS
) -> list[str]:
    """Rewrite the screened `graph_def` in place; return notes of the changes.

    `roots` are the tensors that keep their names. Raise `InvalidModel` for operations
    that can't be computed on a CPU.
    """
    try:
        return _adapt(graph_def, list(roots), steps)
    except (LookupError, ValueError, TypeError, ArithmeticError) as exc:
        raise InvalidModel(
            "The graph is damaged: an operation lacks an input or an attribute "
            f"({first_line(exc)}). Copy or export it again."
        ) from exc


def _adapt(graph_def: Any, roots: list[str], steps: Sequence[Step]) -> list[str]:
    library = {each.signature.name: each for each in graph_def.library.function}
    counts: Counter[str] = Counter()

    if _are_needed(steps, graph_def.node):
        scope = scope_of(graph_def, roots)
        counts += _rewritten(scope, steps)
        write_graph(scope, graph_def)

    for function in library.values():
        if _are_needed(steps, function.node_def):
            scope = scope_in(function, library)
            counts += _rewritten(scope, steps)
            write_function(scope, function, library)

    return [
        step.note.format(count=counts[step.note]) for step in steps if counts[step.note]
    ]


def _are_needed(steps: Sequence[Step], nodes: Iterable[Any]) -> bool:
    return any(step.needed(node) for node in nodes for step in steps)


def _rewritten(scope: Scope, steps: Sequence[Step]) -> Counter[str]:
    return Counter(
        {
            step.note: step.rewrite(scope)
            for step in steps
            if _are_needed([step], scope.nodes.values())
        }
    )
