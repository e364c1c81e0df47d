"""Random draws of Keras' layers as a function of a seed that each call is given."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from inference.backend import tf
from inference.errors import InvalidSidecar
from inference.formats.graph.graphdef import all_nodes
from inference.inputs.seeds import SEED, TRAINING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_HALF = 2**31
_STATEFUL = {
    *("Multinomial", "ParameterizedTruncatedNormal", "RandomGamma", "RandomPoissonV2"),
    *("RandomShuffle", "RandomStandardNormal", "RandomUniform", "RandomUniformInt"),
    *("RngReadAndSkip", "RngSkip", "StatefulStandardNormalV2", "StatefulUniform"),
    *("StatefulTruncatedNormal", "StatefulUniformFullInt", "TruncatedNormal"),
}


@contextmanager
def drawn_from(keras: Any, seed: Any) -> Iterator[None]:
    """Draw what layers draw from `seed`, an int64 scalar: equal seeds, equal masks.

    Each draw of a call has a seed of its own, by its place in the order of draws.
    """
    count = 0

    def draw(*_: Any, **__: Any) -> Any:
        nonlocal count
        count += 1
        low, high = tf.math.floormod(seed, _HALF), tf.math.floordiv(seed, _HALF)
        return tf.cast(tf.stack([low, high + count]), tf.int32)

    if keras.__name__ == "keras":
        with _replaced(keras.random.SeedGenerator, "next", draw):
            yield

        return

    generator = keras.src.backend.RandomGenerator

    def stateless(self: Any) -> None:
        self._rng_type = generator.RNG_STATELESS

    with (
        _replaced(generator, "_maybe_init", stateless),
        _replaced(generator, "make_seed_for_stateless_op", draw),
    ):
        yield


@contextmanager
def _replaced(owner: Any, name: str, function: Callable[..., Any]) -> Iterator[None]:
    own = getattr(owner, name)
    setattr(owner, name, function)

    try:
        yield
    finally:
        setattr(owner, name, own)


def freeze_statistics(keras: Any, model: Any) -> None:
    """Let batch normalisation keep its moving statistics, whatever `training` is."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def check_inputs(names: list[str]) -> None:
    """Raise `InvalidSidecar` if an input has the name of one that is added."""
    for name in (TRAINING, SEED):
        if name in names:
            raise InvalidSidecar(
                f"'training' adds an input '{name}', and the model has one of that "
                "name. Name the model's input otherwise and save it again."
            )


def check_draws(graph_def: Any) -> None:
    """Raise `InvalidSidecar` for a draw that doesn't depend on the seed."""
    for node in all_nodes(graph_def):
        if node.op in _STATEFUL:
            raise InvalidSidecar(
                f"'training': the layer of '{node.name}' draws random numbers that no "
                "seed of a request decides. Leave out 'training'."
            )
