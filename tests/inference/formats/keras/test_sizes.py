"""The sizes that an architecture asks for, by its JSON alone."""

from __future__ import annotations

from typing import Any

import pytest

from inference.errors import InvalidModel
from inference.formats.keras.hdf5 import Stored
from inference.formats.keras.sizes import SLACK_VALUES, allowed_values, check_sizes
from tests.crafted.keras_parts import layer, own, sequential

NOTHING = Stored()
Config = dict[str, Any]


def asked(*stack: Config, stored: Stored = NOTHING) -> str:
    """Return the error for the layers above a file of few weights."""
    with pytest.raises(InvalidModel) as caught:
        check_sizes(sequential(*stack), stored, "model.h5", None)

    return str(caught.value)


@pytest.mark.parametrize(
    ("config", "values"),
    [
        (layer("Dense", units=10**6), 4 * 10**6),
        (layer("Embedding", input_dim=10**4, output_dim=30), 300_000),
        (layer("LSTM", units=1000), 4 * 1000 * 1004),
        (layer("GRU", units=1000), 3 * 1000 * 1004),
        (layer("SimpleRNN", units=1000), 1000 * 1004),
        (layer("Conv2D", filters=10**5, kernel_size=[3, 3]), 9 * 4 * 10**5),
        (layer("Conv2D", filters=10**5, kernel_size=[3, 3], groups=4), 9 * 10**5),
        (layer("Conv1DTranspose", filters=10**5, kernel_size=3), 3 * 4 * 10**5),
        (layer("SeparableConv2D", filters=10**5, kernel_size=3), 12 + 4 * 10**5),
        (layer("DepthwiseConv2D", depth_multiplier=10**5, kernel_size=3), 12 * 10**5),
        (layer("ConvLSTM2D", filters=1000, kernel_size=[2, 2]), 16 * 1000 * 1004),
        (layer("MultiHeadAttention", num_heads=1000, key_dim=100), 300_000),
    ],
    ids=lambda value: value["class_name"] if isinstance(value, dict) else "",
)
def test_the_weights_of_a_layer(config: Config, values: int) -> None:
    assert f"asks for {values:,} weights" in asked(config)


def test_features_follow_the_functional_graph() -> None:
    """`b` is fed by `a`, not by the layer before it."""
    stack = [
        layer("Dense", "a", units=1000),
        layer("Dense", "c", units=1),
        layer("Dense", "b", units=1000),
    ]
    old = {"inbound_nodes": [[["a", 0, 0, {}]]]}
    tensor = {"shape": [None, 1], "dtype": "float32", "keras_history": ["a", 0, 0]}
    argument = {"class_name": "__keras_tensor__", "config": tensor}
    new = {"inbound_nodes": [{"args": [argument], "kwargs": {}}]}

    for nodes in (old, new):
        assert "'b' alone for 1,000,000" in asked(*stack[:2], stack[2] | nodes)


def test_unknown_sizes_count_as_one() -> None:
    stack = [
        layer("Dense", "a", units=10_000),
        layer("Flatten", "f"),
        layer("Dense", "b", units=20_000),
    ]
    channels_first = [
        layer("Conv2D", "a", filters=10_000, data_format="channels_first"),
        layer("Dense", "b", units=20_000),
    ]

    check_sizes(sequential(*stack), NOTHING, "model.h5", None)
    check_sizes(sequential(*channels_first), NOTHING, "model.h5", None)


def test_stored_weights_raise_the_limit() -> None:
    config = sequential(layer("Dense", units=10**6))
    check_sizes(config, Stored(values=4 * 10**6), "model.h5", None)

    assert "holds 900,000" in asked(
        layer("Dense", units=10**6), stored=Stored(values=900_000)
    )
    assert allowed_values(Stored(values=900_000)) == 3_600_000 + SLACK_VALUES


def test_weights_are_limited_by_the_budget() -> None:
    config = sequential(layer("Dense", "a", units=10**6))

    with pytest.raises(
        InvalidModel, match=r"\('a'\) takes 16,000,000 bytes .* need 15,000,000"
    ):
        check_sizes(config, Stored(values=10**8), "model.h5", 15 * 10**6)


@pytest.mark.parametrize(
    "config",
    [
        layer("RepeatVector", "r", n=10**9),
        layer("UpSampling2D", "r", size=[10**5, 10**5]),
        layer("ZeroPadding2D", "r", padding=[[10**5, 1], [10**5, 1]]),
        layer("Reshape", "r", target_shape=[10**5, 10**5]),
        layer("CategoryEncoding", "r", num_tokens=10**10),
        own("InputLayer", name="r", batch_shape=[None, 10**5, 10**5]),
    ],
    ids=lambda value: value["class_name"],
)
def test_shapes_are_limited_by_the_budget(config: Config) -> None:
    check_sizes(sequential(config), NOTHING, "model.h5", None)

    with pytest.raises(InvalidModel, match="'r, .* need 1,000,000,000"):
        check_sizes(sequential(config), NOTHING, "model.h5", 10**9)


@pytest.mark.parametrize("units", [None, -5, 0, True, 2.5, "many", [], {}, [[]]])
def test_invalid_sizes_are_left_to_keras(units: Any) -> None:
    config = layer("Dense", units=units, kernel_size=units, batch_input_shape=units)
    check_sizes(sequential(config), NOTHING, "model.h5", 10**6)
