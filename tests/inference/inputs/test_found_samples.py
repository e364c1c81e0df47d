"""Samples for graphs of many kinds, found without hints from the operator."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from inference.backend import tf, tf1
from inference.compiler.verification.sample_runs import (
    SampleRejection,
    SampleRun,
    run_samples,
)
from inference.formats.opening import open_source
from inference.repository.sidecar import Sidecar, SignatureConfig
from inference.runtime.servable import Servable
from tests.support.graphs import (
    compile_graph,
    floats,
    old_control_flow,
    rows,
    source_of,
    write_graph,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from inference.artifacts.artifact import SignatureEntry

    Build = Callable[[], object]

OUTPUT = Sidecar(
    signatures={"serving_default": SignatureConfig.model_validate({"outputs": ["y:0"]})}
)


def only(folder: Path, build: Build, output: str = "y:0") -> SignatureEntry:
    sidecar = f'[signatures.serving_default]\noutputs = ["{output}"]'
    artifact = compile_graph(folder, build, sidecar)

    with Servable(artifact) as servable:
        servable.warm_up()

    manifest = artifact.read_manifest()
    assert manifest.warms_up
    return manifest.signatures["serving_default"]


def asserted(low: float, high: float) -> Build:
    def build() -> None:
        x = rows("x", 4)
        bounds = [
            tf1.assert_greater_equal(x, low),
            tf1.assert_less(tf.reduce_max(x), high),
        ]

        with tf.control_dependencies(bounds):
            tf.matmul(x, floats(4, 2), name="y")

    return build


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.5), (10.0, 11.0), (-9.0, -5.0)])
def test_numbers_are_in_the_asserted_range(
    tmp_path: Path, low: float, high: float
) -> None:
    entry = only(tmp_path, asserted(low, high))

    assert entry.batchable, entry.batchable_reason


def test_unnamed_range_is_found(tmp_path: Path) -> None:
    def of_pixels() -> None:
        x = rows("x", 4)
        root = tf.debugging.check_numerics(tf.math.log(x - 1.0), "no number")
        tf.matmul(root, floats(4, 2), name="y")

    entry = only(tmp_path, of_pixels)

    assert entry.batchable, entry.batchable_reason


def test_nan_outputs_prove_less_than_others(tmp_path: Path) -> None:
    """A negative number's square root is NaN, and all NaNs are equal."""

    def rooted() -> None:
        tf.sqrt(tf.reduce_min(rows("x", 64), 1, keepdims=True), name="y")

    entry = only(tmp_path, rooted)

    assert entry.batchable, entry.batchable_reason


def table() -> Any:
    return tf.constant(floats(300, 4))


def ids(*shape: int | None, dtype: str = "int32") -> Any:
    return rows("x", *shape, dtype=dtype)


def masked_mean(dtype: str = "int32") -> None:
    x = tf.cast(ids(None, dtype=dtype), "int32")
    mask = tf.cast(x > 0, "float32")[..., None]
    total = tf.reduce_sum(tf.gather(table(), x) * mask, 1)
    tf.divide(total, tf.reduce_sum(mask, 1) + 1e-9, name="y")


def masked_mean_of_floats() -> None:
    """Keras 2 takes ids as floats, unless told otherwise."""
    masked_mean("float32")


def counted() -> None:
    tf.reduce_sum(tf.one_hot(ids(9), 50), 1, name="y")


@pytest.mark.parametrize("build", [masked_mean, masked_mean_of_floats, counted])
def test_models_of_ids_are_joined(tmp_path: Path, build: Build) -> None:
    entry = only(tmp_path, build)

    assert entry.batchable, entry.batchable_reason


def cropped() -> None:
    x = rows("x", None, 4)
    tf.add(x[:, 5000:-5000] * 2.0, x[:, 4000:-6000], name="y")


def valid_convolution() -> None:
    x = rows("x", None, 1)
    tf.nn.conv1d(x, floats(6001, 1, 2), 1, "VALID", name="y")


def strided() -> None:
    x = rows("x", None, 1)

    for _ in range(4):
        x = tf.nn.conv1d(x, floats(9, 1, 1), 4, "VALID")
        x = tf.nn.max_pool1d(x, 2, 2, "VALID")

    tf.identity(x, name="y")


@pytest.mark.parametrize("build", [cropped, valid_convolution, strided])
def test_samples_are_long_enough(tmp_path: Path, build: Build) -> None:
    entry = only(tmp_path, build)

    assert entry.batchable, entry.batchable_reason
    assert entry.sample is not None
    assert entry.sample.shapes["x"][1] > 10_000


DECODERS: dict[str, Callable[[Any], Any]] = {
    "JPEG": lambda text: tf.io.decode_jpeg(text, channels=3),
    "PNG": lambda text: tf.io.decode_png(text, channels=3),
    "BMP": lambda text: tf.io.decode_bmp(text, channels=3),
    "GIF": lambda text: tf.io.decode_gif(text)[0],
    "any": lambda text: tf.io.decode_image(text, 3, expand_animations=False),
}


def each_row(work: Callable[[Any], Any], dtype: str = "float32") -> None:
    made = tf.map_fn(work, rows("x", dtype="string"), dtype=dtype)
    tf.identity(made, name="y")


def pictures(decode: Callable[[Any], Any]) -> Build:
    def shrink(text: Any) -> Any:
        return tf.image.resize(decode(text), [8, 8])

    return lambda: each_row(shrink)


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize("old", [True, False])
def test_decoders_get_images(tmp_path: Path, kind: str, old: bool) -> None:
    build = pictures(DECODERS[kind])

    with old_control_flow() if old else nullcontext():
        path = write_graph(tmp_path / "model.pb", build)

    with open_source(path, OUTPUT) as source:
        run = run_samples(source, source.signatures["serving_default"])

    assert isinstance(run, SampleRun)
    assert run.inputs["x"][0][:2] in (b"\xff\xd8", b"\x89P", b"BM", b"GI")
    assert run.outputs["y"].shape == (2, 8, 8, 3)
    assert run.is_conclusive


def in_base64(text: Any) -> Any:
    return tf.io.decode_jpeg(tf.io.decode_base64(text), channels=3)


def of_sounds() -> None:
    def decode(text: Any) -> Any:
        return tf.squeeze(tf.audio.decode_wav(text, 1).audio, -1)[:1000]

    each_row(decode)


def of_large_pictures() -> None:
    def decode(text: Any) -> Any:
        return tf.image.crop_to_bounding_box(tf.io.decode_png(text, 3), 0, 0, 200, 200)

    each_row(decode, "uint8")


@pytest.mark.parametrize(
    "build",
    [pictures(in_base64), of_sounds, of_large_pictures],
    ids=["base64", "sounds", "large pictures"],
)
def test_files_as_graphs_want_them(tmp_path: Path, build: Build) -> None:
    entry = only(tmp_path, build)

    assert entry.batchable, entry.batchable_reason


def test_image_and_text_inputs_have_separate_samples(tmp_path: Path) -> None:
    def both() -> None:
        small = pictures(DECODERS["JPEG"])
        small()
        number = tf.strings.to_number(rows("number", dtype="string"))
        made = tf1.get_default_graph().get_tensor_by_name("y:0")
        tf.multiply(tf.reshape(made, [-1, 192]), number[:, None], name="z")

    entry = only(tmp_path, both, "z:0")

    assert entry.sample is not None
    assert entry.sample.texts["x"].startswith(("\xff\xd8", "\x89PNG"))
    assert entry.sample.texts["number"] in ("1", "2")


FEATURE = tf.io.FixedLenFeature([3], tf.float32)


@pytest.mark.parametrize(
    "refuse",
    [
        tf.strings.to_number,
        lambda text: tf.strings.to_number(tf.strings.strip(text), "int64"),
        lambda text: tf.io.parse_example(text, {"a": FEATURE})["a"],
    ],
    ids=["float", "int", "example"],
)
def test_error_that_quotes_an_image_keeps_the_output(
    tmp_path: Path, refuse: Callable[[Any], Any]
) -> None:
    """Python can't decode the error, which doesn't concern the output."""

    def build() -> None:
        text = rows("x", dtype="string")
        tf.identity(refuse(tf.strings.join([text, "-x?"])), name="y")
        tf.strings.length(text, name="z")

    with source_of(tmp_path, build) as source:
        assert list(source.signatures["serving_default"].outputs) == ["y", "z"]


def test_lengths_of_rows_fit_them(tmp_path: Path) -> None:
    def reversed_rows() -> None:
        lengths = rows("lengths", dtype="int32")
        tf.reverse_sequence(rows("x", None, 3), lengths, seq_axis=1, name="y")

    entry = only(tmp_path, reversed_rows)

    assert entry.batchable, entry.batchable_reason


def test_model_of_one_row_is_compared(tmp_path: Path) -> None:
    def one_at_a_time() -> None:
        tf.matmul(tf.squeeze(rows("x", 1, 4), [0, 1])[None], floats(4, 2), name="y")

    with source_of(tmp_path, one_at_a_time) as source:
        run = run_samples(source, source.signatures["serving_default"])

    assert isinstance(run, SampleRun)
    assert run.inputs["x"].shape == (1, 1, 4)


def test_model_without_a_working_sample_is_reported(tmp_path: Path) -> None:
    def impossible() -> None:
        tf.reshape(rows("x", None), [7, 11, 13], name="y")

    with source_of(tmp_path, impossible) as source:
        refusal = run_samples(source, source.signatures["serving_default"])

    assert isinstance(refusal, SampleRejection)
