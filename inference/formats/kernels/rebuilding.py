"""Sources that their framework can't run correctly, compared by their adapted graph."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from inference.backend import tf, tf1
from inference.formats.graph.session import SessionReference, source_session
from inference.formats.graph.tables import fill_tables
from inference.formats.kernels.adapting import adapt
from inference.formats.screening.graph import clear_placement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inference.formats.graph.source import Source


@contextmanager
def adapted(source: Source) -> Iterator[None]:
    """Adapt the graph of `source`, a screened Keras model.

    If anything is changed, the new graph, without optimisation, is the reference until
    the block's end: the framework itself fails or computes wrongly.
    """
    notes = adapt(source.graph_def, source.tensors())

    if not notes:
        yield
        return

    source.notes += notes
    clear_placement(source.graph_def)

    with source_session() as session:
        rebuild(session, source)
        source.reference = SessionReference(session)
        yield


def rebuild(session: Any, source: Source) -> None:
    """Import the graph of `source` into `session`, with its tables and variables."""
    with session.graph.as_default():
        tf.graph_util.import_graph_def(source.graph_def, name="")
        fills = fill_tables(session.graph, source.tables)
        given = {
            tf1.placeholder(value.dtype, value.shape): (name, value)
            for name, value in source.variables.items()
        }
        fills += [
            _assign(session.graph, name, tensor) for tensor, (name, _) in given.items()
        ]

    # One run for all: a session extends itself after each change of its graph.
    session.run(fills, {tensor: value for tensor, (_, value) in given.items()})


def _assign(graph: Any, name: str, value: Any) -> Any:
    handle = graph.get_tensor_by_name(f"{name}:0")
    return tf.raw_ops.AssignVariableOp(resource=handle, value=value)
