from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference.backend import tf, tf1
from inference.compiler.rewriting.lengths import check_lengths, is_unpadded
from inference.errors import InputMismatch
from inference.formats.graph.graphdef import all_nodes
from inference.formats.graph.session import source_session
from inference.runtime.guards import CHECK, explain
from inference.runtime.servable import Servable
from tests.support.graphs import compile_graph, compile_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Convolve = Callable[[Any], Any]

RANDOM = np.random.default_rng(3)
FILTER = 5

# The lengths given here are those that TensorFlow refuses by itself, in other words.
ENOUGH, TOO_SHORT = 9, 2


def weights(*shape: int) -> Any:
    return tf.constant(RANDOM.normal(size=shape).astype(np.float32))


def in_a_loop(x: Any) -> Any:
    filters = weights(FILTER, FILTER, 3, 3)
    return tf.map_fn(lambda row: tf.nn.conv2d(row[None], filters, 1, "VALID")[0], x)


def in_a_frame(x: Any) -> Any:
    filters = weights(FILTER, 1, 3, 3)

    def body(turn: Any, value: Any) -> Any:
        return turn + 1, tf.nn.conv2d(value, filters, 1, "VALID")

    shapes = [tf.TensorShape([]), tf.TensorShape([None, None, None, 3])]
    return tf1.while_loop(lambda turn, _: turn < 2, body, [0, x], shapes)[1]


PICTURES: dict[str, Convolve] = {
    "Conv2D": lambda x: tf.nn.conv2d(x, weights(FILTER, FILTER, 3, 4), 1, "VALID"),
    "fused with its bias": lambda x: tf.nn.relu(
        tf.nn.bias_add(
            tf.nn.conv2d(x, weights(FILTER, FILTER, 3, 4), 1, "VALID"), weights(4)
        )
    ),
    "of a constant times one": lambda x: tf.nn.conv2d(
        x, tf.identity(weights(FILTER, FILTER, 3, 4)) * 1.0, 1, "VALID"
    ),
    "padded by name": lambda x: tf.nn.conv2d(
        x, weights(FILTER + 2, FILTER + 2, 3, 4), 1, [[0, 0], [1, 1], [1, 1], [0, 0]]
    ),
    "dilated": lambda x: tf.nn.conv2d(x, weights(3, 3, 3, 4), 1, "VALID", dilations=2),
    "bfloat16": lambda x: tf.cast(
        tf.nn.conv2d(
            tf.cast(x, tf.bfloat16),
            tf.cast(weights(FILTER, FILTER, 3, 4), tf.bfloat16),
            1,
            "VALID",
        ),
        tf.float32,
    ),
    "DepthwiseConv2dNative": lambda x: tf.nn.depthwise_conv2d(
        x, weights(FILTER, FILTER, 3, 2), [1, 1, 1, 1], "VALID"
    ),
    "behind a convolution that pads": lambda x: tf.nn.conv2d(
        tf.nn.conv2d(x, weights(3, 3, 3, 4), 1, "SAME"),
        weights(FILTER, FILTER, 4, 4),
        1,
        "VALID",
    ),
    "in a loop": in_a_loop,
    "in a frame": in_a_frame,
}


def picture(convolve: Convolve) -> Callable[[], None]:
    def build() -> None:
        x = tf1.placeholder(tf.float32, [None, None, None, 3], name="x")
        tf.identity(convolve(x), name="y")

    return build


def text() -> None:
    x = tf1.placeholder(tf.float32, [None, None, 3], name="x")
    tf.identity(tf.nn.conv1d(x, weights(FILTER, 3, 4), 1, "VALID"), name="y")


def volume() -> None:
    x = tf1.placeholder(tf.float32, [None, None, None, None, 2], name="x")
    filters = weights(FILTER, FILTER, FILTER, 2, 3)
    tf.identity(tf.nn.conv3d(x, filters, [1] * 5, "VALID"), name="y")


def quantised() -> None:
    x = tf1.placeholder(tf.float32, [None, None, None, 3], name="x")
    ranges = {"min_input": 0.0, "max_input": 1.0, "min_filter": 0.0, "max_filter": 1.0}
    small = tf.quantization.quantize(x, 0.0, 1.0, tf.quint8).output
    filters = tf.quantization.quantize(
        tf.abs(weights(FILTER, FILTER, 3, 4)), 0.0, 1.0, tf.quint8
    ).output
    summed = tf.raw_ops.QuantizedConv2D(
        input=small, filter=filters, strides=[1, 1, 1, 1], padding="VALID", **ranges
    )
    tf.cast(tf.bitcast(summed.output, tf.int32), tf.float32, name="y")


GRAPHS = {name: picture(each) for name, each in PICTURES.items()} | {
    "Conv1D": text,
    "Conv3D": volume,
    "quantised": quantised,
}


def served(servable: Servable, *lengths: int) -> Any:
    channels = (servable.signatures["serving_default"].inputs["x"].shape or ())[-1]
    shape = (2, *lengths, channels or 1)
    return servable.run("serving_default", {"x": np.ones(shape, np.float32)})["y"]


def positions(build: Callable[[], None]) -> int:
    return {text: 1, volume: 3}.get(build, 2)


@pytest.mark.parametrize("name", GRAPHS)
def test_inputs_that_the_filter_fits_in_are_answered(tmp_path: Path, name: str) -> None:
    build = GRAPHS[name]

    with Servable(compile_graph(tmp_path, build)) as servable:
        y = served(servable, *[ENOUGH] * positions(build))

    assert y.shape[1:-1] == (ENOUGH - FILTER + 1,) * positions(build) or (
        # Twice through the loop, in one of the two directions.
        name == "in a frame" and y.shape[1:-1] == (1, ENOUGH)
    )


@pytest.mark.parametrize("name", GRAPHS)
def test_too_short_inputs_are_refused_with_what_is_needed(
    tmp_path: Path, name: str
) -> None:
    build = GRAPHS[name]

    with (
        Servable(compile_graph(tmp_path, build)) as servable,
        pytest.raises(InputMismatch, match=r"Send a longer input, or pad it\.") as told,
    ):
        served(servable, *[TOO_SHORT] * positions(build))

    assert " positions or more along axis " in str(told.value)


def test_the_refusal_names_the_convolution_and_the_axis(tmp_path: Path) -> None:
    def build() -> None:
        x = tf1.placeholder(tf.float32, [None, None, None, 3], name="x")
        y = tf.nn.conv2d(x, weights(3, FILTER, 3, 4), 1, "VALID", name="stem/conv")
        tf.identity(y, name="y")

    with (
        Servable(compile_graph(tmp_path, build)) as servable,
        pytest.raises(InputMismatch) as told,
    ):
        served(servable, ENOUGH, TOO_SHORT)

    assert str(told.value) == (
        "The convolution 'stem/conv' needs 5 positions or more along axis 2 of its "
        "input, and got 2. Send a longer input, or pad it."
    )


@pytest.mark.parametrize(
    ("shape", "filters", "padding"),
    [
        ([None, 9, 9, 3], (5, 5), "VALID"),
        ([None, 5, 5, 3], (5, 5), "VALID"),
        ([None, None, None, 3], (1, 1), "VALID"),
        ([None, None, None, 3], (5, 5), "SAME"),
        ([None, None, None, 3], (3, 3), [[0, 0], [1, 1], [1, 1], [0, 0]]),
        ([None, None, 9, 3], (1, 3), "VALID"),
    ],
)
def test_convolutions_that_always_fit_are_not_checked(
    shape: list[int | None], filters: tuple[int, int], padding: Any
) -> None:
    with tf.Graph().as_default() as graph:
        x = tf1.placeholder(tf.float32, shape, name="x")
        tf.nn.conv2d(x, weights(*filters, 3, 4), 1, padding)

    assert not checks(check_lengths(graph))


def test_an_open_length_is_checked_beside_a_fixed_one() -> None:
    with tf.Graph().as_default() as graph:
        x = tf1.placeholder(tf.float32, [None, 9, None, 3], name="x")
        tf.nn.conv2d(x, weights(5, 5, 3, 4), 1, "VALID")

    assert checks(check_lengths(graph))


def test_a_filter_of_unknown_shape_is_measured_when_it_is_run() -> None:
    with tf.Graph().as_default() as graph:
        x = tf1.placeholder(tf.float32, name="x")
        filters = tf1.placeholder(tf.float32, name="filters")
        tf.identity(tf.nn.conv2d(x, filters, 1, "VALID"), name="y")

    with tf.Graph().as_default() as checked:
        tf.graph_util.import_graph_def(check_lengths(graph), name="")

    def run(length: int, filter_length: int) -> Any:
        given = np.ones((1, length, length, 3), np.float32)
        kernel = np.ones((filter_length, filter_length, 3, 4), np.float32)

        with source_session(checked) as session:
            return session.run("y:0", {"x:0": given, "filters:0": kernel})

    assert run(9, 5).shape == (1, 5, 5, 4)

    with pytest.raises(tf.errors.InvalidArgumentError) as told:
        run(2, 5)

    assert "needs 5 positions" in str(explain(told.value))


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't")
@pytest.mark.parametrize("saved", ["model.keras", "exported"])
def test_keras_models_of_open_lengths_are_optimised_and_joined(
    tmp_path: Path, saved: str
) -> None:
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.Conv2D(4, 3, strides=2, activation="relu"),
            layers.DepthwiseConv2D(3, strides=2),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )

    if saved == "exported":
        model.export(str(tmp_path / saved), verbose=False)
    else:
        model.save(tmp_path / saved)

    manifest = compile_path(tmp_path / saved, tmp_path / "artifact").read_manifest()
    entry = manifest.signatures["serving_default"]

    assert manifest.optimization == "full"
    assert entry.batchable, entry.batchable_reason
    assert not any("sample inputs" in note for note in manifest.notes)


def test_other_errors_are_not_explained() -> None:
    assert explain(ValueError("Expected size[1] in [0, 2], but got 5")) is None


@pytest.mark.parametrize(
    ("op", "padding", "unpadded"),
    [
        ("Conv2D", b"VALID", True),
        ("Conv2D", b"EXPLICIT", True),
        ("Conv2D", b"SAME", False),
        ("Conv3D", b"VALID", True),
        ("DepthwiseConv2dNative", b"VALID", True),
        ("_FusedConv2D", b"VALID", True),
        ("_FusedDepthwiseConv2dNative", b"VALID", True),
        ("_FusedConv3D", b"VALID", True),
        ("QuantizedConv2D", b"VALID", True),
        ("QuantizedConv2DWithBiasAndReluAndRequantize", b"VALID", True),
        ("QuantizedDepthwiseConv2D", b"VALID", True),
        ("Conv2DBackpropInput", b"VALID", False),
        ("Conv2DBackpropInputV2", b"VALID", False),
        ("Conv3DBackpropInputV2", b"VALID", False),
        ("MaxPool", b"VALID", False),
    ],
)
def test_kinds_of_convolutions(op: str, padding: bytes, unpadded: bool) -> None:
    node = tf1.NodeDef(op=op)
    node.attr["padding"].s = padding

    assert is_unpadded(node) is unpadded


def checks(graph_def: Any) -> list[str]:
    names = [node.name for node in all_nodes(graph_def)]
    return [name for name in names if name.startswith(CHECK)]
