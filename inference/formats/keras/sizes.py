"""Limits on an architecture's weights, against those stored in the file.

Keras creates all weights before it reads any, so a thousand bytes of JSON can ask for
all memory. The sizes computed from the JSON are a lower bound; `bounded_weights` counts
exactly, while Keras builds.
"""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from inference.errors import InvalidModel
from inference.formats.keras.vocabulary.names import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inference.formats.keras.hdf5 import Stored

Config = dict[str, Any]

SLACK_VALUES = 2**16
SLACK_FACTOR = 4
"""Weights that are created and not stored: states, adapters, packed values."""

_VALUE_BYTES = 4
_LARGEST = 2**62
_GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1, "CuDNNLSTM": 4, "CuDNNGRU": 3}
_GATES |= {f"{name}Cell": gates for name, gates in _GATES.items()}
_SAME_FEATURES = {
    "Activation",
    "AlphaDropout",
    "BatchNormalization",
    "Dropout",
    "ELU",
    "GaussianDropout",
    "GaussianNoise",
    "LayerNormalization",
    "LeakyReLU",
    "ReLU",
    "Softmax",
}
_SHAPES = (
    "batch_input_shape",
    "batch_shape",
    "fft_length",
    "height",
    "max_tokens",
    "n",
    "num_tokens",
    "padding",
    "sequence_length",
    "size",
    "target_shape",
    "width",
)
"""Keys whose product is a number of values that the layer makes, at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Need:
    layer: str
    values: int


def allowed_values(stored: Stored) -> int:
    """Return the most values that a model's weights may have, given the stored ones."""
    return SLACK_FACTOR * stored.values + SLACK_VALUES


def check_sizes(
    config: Config, stored: Stored, name: str, memory_bytes: int | None
) -> None:
    """Raise `InvalidModel` if `config` asks for more than the file can fill.

    `name` is the file's name in errors; `config` is a screened one.
    """
    objects = list(_objects(config))
    needs = _needs(objects)
    total = sum(need.values for need in needs)

    if total > allowed_values(stored):
        largest = max(needs, key=lambda need: need.values)
        raise InvalidModel(
            f"{name}: its architecture asks for {total:,} weights or more (layer "
            f"'{largest.layer}' alone for {largest.values:,}), but the file holds "
            f"{stored.values:,}. Save the model again."
        )

    sizes = [*((need.layer, need.values) for need in needs), *_shapes(objects)]

    for layer, values in [*sizes, ("all layers", total)]:
        _check_memory(values, layer, name, memory_bytes)


@contextmanager
def bounded_weights(layer_class: Any, name: str, bound: int) -> Iterator[None]:
    """Limit the weights created in the block to `bound` values.

    `layer_class` is the base of the layers of the Keras in use. Raise `InvalidModel`,
    which names the file `name`, before the weights are created.
    """
    original = layer_class.add_weight
    signature = inspect.signature(original)
    made = 0

    def add_weight(self: Any, *arguments: Any, **keywords: Any) -> Any:
        nonlocal made
        bound_arguments = signature.bind_partial(self, *arguments, **keywords).arguments
        asked = made + _value_count(bound_arguments.get("shape"))

        if asked > bound:
            raise InvalidModel(
                f"{name}: its architecture asks for {asked:,} weights or more, layer "
                f"'{self.name}' for the last of them; with what the file holds it may "
                f"have {bound:,}. Save the model again."
            )

        made = asked
        return original(self, *arguments, **keywords)

    # All weights of every version come through `add_weight`, so no shape has to be
    # guessed. There is no hook for it, hence the patch.
    layer_class.add_weight = add_weight

    try:
        yield
    finally:
        layer_class.add_weight = original


def _check_memory(values: int, layer: str, name: str, memory_bytes: int | None) -> None:
    wanted = values * _VALUE_BYTES

    if memory_bytes is not None and wanted > memory_bytes:
        raise InvalidModel(
            f"{name}: its architecture ('{layer}') takes {wanted:,} bytes or more; a "
            f"model may need {memory_bytes:,}. Raise the memory budget to serve it."
        )


def _objects(config: Config) -> Iterator[Config]:
    """Yield all dicts with a class and a config, in the order of the file."""
    waiting: list[Any] = [config]

    while waiting:
        value = waiting.pop()

        if isinstance(value, dict):
            if isinstance(value.get("config"), dict) and "class_name" in value:
                yield value

            waiting += reversed(list(value.values()))
        elif isinstance(value, list):
            waiting += reversed(
                [each for each in value if isinstance(each, dict | list)]
            )


def _needs(objects: list[Config]) -> list[_Need]:
    """Return the weights of each layer; features are followed from layer to layer."""
    features: dict[str, int] = {}
    before, needs = 1, []

    for each in objects:
        inner, kind = each["config"], each["class_name"]

        if not _is_layer(each):
            continue

        name = str(inner.get("name") or kind)
        taken = _declared_features(each)

        if taken is None:
            taken = features.get(_input_layer(each), before)

        needs.append(_Need(layer=shown(name), values=_weights(kind, inner, taken)))
        features[name] = before = _output_features(kind, inner, taken)

    return needs


def _is_layer(value: Config) -> bool:
    module = value.get("module")
    named = isinstance(value["config"].get("name"), str)
    return named or (isinstance(module, str) and ".layers" in module)


def _input_layer(value: Config) -> str:
    """Return the name of the layer that feeds this one, as Keras 2 and 3 write it."""
    found = value.get("inbound_nodes")

    while isinstance(found, list | dict):
        if isinstance(found, dict):
            inner = found.get("config")
            history = inner.get("keras_history") if isinstance(inner, dict) else None
            found = history or found.get("args")
        else:
            found = found[0] if found else None

    return found if isinstance(found, str) else ""


def _declared_features(value: Config) -> int | None:
    """Return the features that the layer itself says that it takes."""
    build = value.get("build_config")
    inner = value["config"]
    shape = build.get("input_shape") if isinstance(build, dict) else None
    shape = shape or inner.get("batch_input_shape") or inner.get("batch_shape")

    if not isinstance(shape, list) or not shape:
        return 1 if value["class_name"] == "InputLayer" else None

    axis = 1 if inner.get("data_format") == "channels_first" and len(shape) > 2 else -1
    return _size(shape[axis])


def _output_features(kind: str, inner: Config, taken: int) -> int:
    """Return the features that the layer gives; 1, the least, if that isn't clear."""
    if kind == "InputLayer" or kind in _SAME_FEATURES:
        return taken

    if inner.get("data_format") == "channels_first":
        return 1

    return max(_size(inner.get(key)) for key in ("units", "filters", "output_dim"))


def _weights(kind: str, inner: Config, taken: int) -> int:
    units, filters = _size(inner.get("units")), _size(inner.get("filters"))
    kernel = _product(inner.get("kernel_size"))

    if kind == "Dense":
        return taken * units

    if kind in ("Embedding", "ReversibleEmbedding"):
        return _size(inner.get("input_dim")) * _size(inner.get("output_dim"))

    if kind in _GATES:
        return _GATES[kind] * units * (units + taken)

    if kind.startswith("ConvLSTM"):
        return 4 * kernel * filters * (filters + taken)

    if kind.startswith("DepthwiseConv"):
        return kernel * taken * _size(inner.get("depth_multiplier"))

    if kind.startswith("SeparableConv"):
        return kernel * taken + taken * filters

    if kind.startswith("Conv"):
        return kernel * filters * max(taken // _size(inner.get("groups")), 1)

    if kind == "LayerScale":
        return _size(inner.get("projection_dim"))

    if kind == "MultiHeadAttention":
        return 3 * _size(inner.get("num_heads")) * _size(inner.get("key_dim"))

    return 0


def _shapes(objects: list[Config]) -> Iterator[tuple[str, int]]:
    for each in objects:
        inner = each["config"]

        for key in _SHAPES:
            yield (
                f"{inner.get('name', each['class_name'])}, {key}",
                _product(inner.get(key)),
            )


def _product(value: Any) -> int:
    total = 1

    for each in value if isinstance(value, list) else [value]:
        total *= _product(each) if isinstance(each, list) else _size(each)
        total = min(total, _LARGEST)

    return total


def _size(value: Any) -> int:
    """Return `value`, or 1 if it isn't a size."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        return 1

    # Huge integers take long to multiply.
    return min(value, _LARGEST)


def _value_count(shape: Any) -> int:
    sizes = [] if shape is None else [shape] if isinstance(shape, int) else list(shape)
    return prod(int(size) for size in sizes if size is not None)
