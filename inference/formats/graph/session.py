"""Sessions that run a source's graph as it was written."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from inference.backend import config_pb2, tf, tf1
from inference.formats.graph.tensors import as_array

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from inference.types import Array, Signature


@contextmanager
def source_session(graph: Any = None) -> Iterator[Any]:
    """Yield a session without graph rewriting: it computes what the graph says.

    It is the default one, with its graph, until the block's end.
    """
    with background_session(graph) as session, session:
        yield session


@contextmanager
def background_session(graph: Any = None) -> Iterator[Any]:
    """Yield such a session beside code that runs eagerly, as Keras does."""
    config = config_pb2.ConfigProto()
    # Grappler's rewrites are what the reference is there to check.
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    session = tf1.Session(graph=graph or tf.Graph(), config=config)

    try:
        yield session
    finally:
        session.close()


class SessionReference:
    """The source's outputs, computed by its own session."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __call__(
        self, signature: Signature, inputs: Mapping[str, Array]
    ) -> dict[str, Array]:
        feeds = {signature.inputs[name].tensor: inputs[name] for name in inputs}
        fetches = {name: spec.tensor for name, spec in signature.outputs.items()}
        fetched = self._session.run(fetches, feed_dict=feeds)
        return {name: as_array(value) for name, value in fetched.items()}
