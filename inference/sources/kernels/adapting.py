"""A graph made fit for the CPU that it will be served on, before anybody runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.errors import InvalidModel
from inference.reasons import first_line
from inference.sources.kernels.channels_first import is_channels_first, to_channels_last
from inference.sources.kernels.scopes import (
    scope_in,
    scope_of,
    write_function,
    write_graph,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

_FIRST = (
    "{count} channels-first operations (NCHW) are computed channels last (NHWC): "
    "TensorFlow has no others on a CPU."
)


def adapt(graph_def: Any, roots: Iterable[str]) -> list[str]:
    """Rewrite `graph_def`, which is screened, in place; notes of what was done.

    `roots` are the tensors that keep their names. Raises `InvalidModel` for what
    can't be computed on a CPU.
    """
    try:
        return _adapt(graph_def, roots)
    except (LookupError, ValueError, TypeError, ArithmeticError) as exc:
        raise InvalidModel(
            f"The graph is damaged: an operation lacks an input or an attribute "
            f"({first_line(exc)}). Copy or export it again."
        ) from exc


def _adapt(graph_def: Any, roots: Iterable[str]) -> list[str]:
    library = {each.signature.name: each for each in graph_def.library.function}
    count = 0

    if any(map(is_channels_first, graph_def.node)):
        scope = scope_of(graph_def, roots)
        count += to_channels_last(scope)
        write_graph(scope, graph_def)

    for function in library.values():
        if any(map(is_channels_first, function.node_def)):
            scope = scope_in(function, library)
            count += to_channels_last(scope)
            write_function(scope, function, library)

    return [_FIRST.format(count=count)] if count else []
