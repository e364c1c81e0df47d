from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

from inference.backend import tf, tf1
from inference.compiler.verification.equality import Mismatch, compare
from inference.compiler.verification.sample_runs import (
    SampleRejection,
    SampleRun,
    run_samples,
)
from inference.errors import InputMismatch
from inference.inputs.samples import GeneratedSample
from inference.runtime.servable import Servable
from tests.support.graphs import compile_graph, floats, rows, source_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from inference.types import Array

    Build = Any

NUMBERS = ("float16", "bfloat16", "float32", "float64", "complex64", "int64", "uint8")
KINDS = (*NUMBERS, "bool", "string")
OWN_DTYPES: dict[str, Any] = {"bfloat16": ml_dtypes.bfloat16, "string": object}


def one_of_each() -> None:
    for kind in KINDS:
        tf.identity(rows(f"a_{kind}", dtype=kind), name=f"{kind}_again")


def array(kind: str, *values: object) -> Array:
    return np.array(values, dtype=OWN_DTYPES.get(kind, kind))


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servable]:
    """Build a graph that returns its inputs, in every dtype."""
    artifact = compile_graph(tmp_path_factory.mktemp("echo"), one_of_each)

    with Servable(artifact) as servable:
        yield servable


def answered(echo: Servable, kind: str, got: Array, wanted: Array) -> float | None:
    """Return the result of comparing outputs `got` with the source's `wanted`."""
    run = attempt_of(echo, kind, got, wanted)
    return compare(echo, run)


def attempt_of(echo: Servable, kind: str, got: Array, wanted: Array) -> SampleRun:
    signature = echo.signatures["serving_default"]
    blank = {
        name: np.zeros(1, OWN_DTYPES.get(spec.dtype, spec.dtype))
        for name, spec in signature.inputs.items()
    }
    blank["a_string"][:] = b""
    inputs = {**blank, f"a_{kind}": got}
    outputs = echo.run("serving_default", inputs) | {f"{kind}_again": wanted}
    return SampleRun(
        signature=signature,
        candidate=GeneratedSample(signature=signature),
        inputs=inputs,
        outputs=outputs,
        deterministic=True,
    )


@pytest.mark.parametrize(
    ("kind", "got", "wanted"),
    [
        pytest.param("float32", [1.0, 2.0], [1.0, 2.00001], id="float32"),
        pytest.param("float32", [1e5, 0.5], [1e5, 0.9], id="beside a large one"),
        pytest.param("float32", [0.0], [9e-6], id="beside zero"),
        pytest.param("float32", [np.nan, 1], [np.nan, 1], id="not a number"),
        pytest.param("float32", [np.inf, 1], [np.inf, 1], id="infinite"),
        pytest.param("float64", [1.0], [1.0 + 1e-9], id="float64"),
        pytest.param("float16", [1.0], [1.01], id="float16"),
        pytest.param("bfloat16", [1.0], [1.0078125], id="bfloat16"),
        pytest.param("complex64", [1 + 1j], [1 + 1.00001j], id="complex64"),
        pytest.param("int64", [2**53 + 1], [2**53 + 1], id="int64"),
        pytest.param("string", [b"\xff\x00"], [b"\xff\x00"], id="string"),
    ],
)
def test_outputs_within_tolerance_agree(
    echo: Servable, kind: str, got: Any, wanted: Any
) -> None:
    answered(echo, kind, array(kind, *got), array(kind, *wanted))


def test_largest_difference_is_returned(echo: Servable) -> None:
    got = array("float32", 1e5, 0.5, np.inf, np.nan)
    wanted = array("float32", 1e5, 0.75, np.inf, np.nan)

    assert answered(echo, "float32", got, wanted) == 0.25
    assert answered(echo, "string", array("string", b"a"), array("string", b"a")) == 0


@pytest.mark.parametrize(
    ("kind", "got", "wanted"),
    [
        pytest.param("float32", [1.0, 2.0], [1.0, 2.0001], id="float32"),
        pytest.param("float32", [1e5, 0.5], [1e5, 2.0], id="beside a large one"),
        pytest.param("float32", [np.inf, 0.5], [np.inf, 0.6], id="beside infinity"),
        pytest.param("float32", [np.nan], [1.0], id="a number wanted"),
        pytest.param("float32", [1.0], [np.nan], id="none wanted"),
        pytest.param("float32", [np.inf], [-np.inf], id="infinite"),
        pytest.param("float64", [1.0], [1.0 + 1e-6], id="float64"),
        pytest.param("float16", [1.0], [1.1], id="float16"),
        pytest.param("bfloat16", [1.0], [1.125], id="bfloat16"),
        pytest.param("complex64", [1 + 1j], [1 + 1.01j], id="complex64"),
        pytest.param("int64", [2**53 + 1], [2**53], id="int64"),
        pytest.param("uint8", [1], [2], id="uint8"),
        pytest.param("bool", [True], [False], id="bool"),
        pytest.param("string", [b"a"], [b"b"], id="string"),
        pytest.param("float32", [1.0], [1.0, 1.0], id="another shape"),
    ],
)
def test_outputs_beyond_tolerance_differ(
    echo: Servable, kind: str, got: Any, wanted: Any
) -> None:
    with pytest.raises(Mismatch, match="signature 'serving_default' differs by"):
        answered(echo, kind, array(kind, *got), array(kind, *wanted))


def test_other_dtype_differs(echo: Servable) -> None:
    with pytest.raises(Mismatch):
        answered(echo, "float32", floats(2), floats(2).astype("float64"))


def test_nondeterministic_outputs_are_not_compared(echo: Servable) -> None:
    run = attempt_of(echo, "float32", floats(2), floats(2) + 1)

    assert compare(echo, replace(run, deterministic=False)) is None


def test_samples_of_fitting_sizes_are_found(tmp_path: Path) -> None:
    def picky() -> None:
        image = rows("image", None, None, 3)
        tf.reshape(tf.reshape(image, [-1, 224 * 224 * 3]), [-1], name="pixels")

    with source_of(tmp_path, picky) as source:
        run = run_samples(source, source.signatures["serving_default"])

    assert isinstance(run, SampleRun)
    assert run.inputs["image"].shape == (2, 224, 224, 3)
    assert run.deterministic
    np.testing.assert_array_equal(
        run.outputs["pixels"], run.inputs["image"].reshape(-1)
    )


def test_source_rejects_every_sample(tmp_path: Path) -> None:
    def impossible() -> None:
        tf.reshape(rows("x", None), [7, 11, 13], name="y")

    with source_of(tmp_path, impossible) as source:
        refusal = run_samples(source, source.signatures["serving_default"])

    assert isinstance(refusal, SampleRejection)
    assert "32 values" in refusal.reason
    assert "1001" in refusal.reason


def test_random_outputs_are_not_deterministic(tmp_path: Path) -> None:
    with source_of(tmp_path, random_op) as source:
        run = run_samples(source, source.signatures["serving_default"])

    assert isinstance(run, SampleRun)
    assert not run.deterministic


def dense() -> None:
    tf.matmul(rows("x", 4), floats(4, 2), name="y")


def open_length() -> None:
    tf.reduce_sum(rows("x", None), 1, name="y")


def with_a_flag() -> None:
    flag = tf1.placeholder_with_default(2.0, [], name="gain")
    tf.multiply(rows("x", 4), flag, name="y")


def of_words() -> None:
    tf.strings.to_hash_bucket_fast(rows("words", dtype="string"), 100, name="y")


def rows_interact() -> None:
    x = rows("x", 4)
    tf.subtract(x, tf.reduce_max(x), name="y")


def time_major() -> None:
    tf.cumsum(rows("x", None, 3), axis=0, name="y")


def sorted_rows() -> None:
    tf.sort(rows("x", 4), axis=0, name="y")


def reversed_rows() -> None:
    tf.reverse(rows("x", 4), [0], name="y")


def same_for_all() -> None:
    x = rows("x", 4)
    tf.zeros([tf.shape(x)[0], 3], name="y")


def one_answer() -> None:
    tf.reduce_sum(rows("x", 4), name="y")


def pairs() -> None:
    """Build a graph that returns twice as many rows as it gets."""
    x = rows("x", 4)
    tf.concat([x, x], 0, name="y")


def random_op() -> None:
    x = rows("x", 4)
    tf.add(x, tf.random.uniform(tf.shape(x)), name="y")


def fixed() -> None:
    tf.negative(tf1.placeholder("float32", [2, 4], name="x"), name="y")


def any_rank() -> None:
    tf.negative(tf1.placeholder("float32", None, name="x"), name="y")


def one_side_fixed() -> None:
    scale = tf1.placeholder("float32", [4], name="scale")
    tf.multiply(rows("x", 4), scale, name="y")


def nothing_required() -> None:
    tf.negative(tf1.placeholder_with_default(floats(2, 4), [None, 4], "x"), name="y")


def two_at_most() -> None:
    x = rows("x", 4)
    few = tf1.Assert(tf.shape(x)[0] <= 2, ["too many rows"])

    with tf.control_dependencies([few]):
        tf.negative(x, name="y")


def scaled_if_any_is_bright() -> None:
    x = rows("x", 4)
    tf.identity(tf.cond(tf.reduce_max(x) > 1, lambda: x / 255, lambda: x), name="y")


def doubled_if_any_is_large() -> None:
    x = rows("x", 2, dtype="int32")
    y = tf.cast(x, "float32")
    tf.where(tf.reduce_any(x > 5000), y * 2, y, name="y")


def kept_if_all_are_small() -> None:
    x = rows("x", 4)
    tf.where(tf.reduce_all(tf.abs(x) < 50), x, -x, name="y")


def turned_if_the_sum_is_large() -> None:
    x = rows("x", 4)
    tf.where(tf.greater(tf.reduce_sum(x), 2000), -x, x, name="y")


def mixed_in_a_function() -> None:
    shrunk = tf.function(
        lambda x: tf.cond(tf.reduce_any(x > 5000), lambda: x * 2, lambda: x)
    )
    tf.identity(shrunk(rows("x", 4)), name="y")


def product() -> Any:
    return tf.matmul(rows("x", 4), floats(4, 3))


def peak() -> Any:
    """The largest number of all rows: samples of usual size can't tell its use."""
    graph = tf1.get_default_graph()
    return tf.reduce_max(graph.get_tensor_by_name("x:0"))


def norm() -> Any:
    return tf.norm(tf1.get_default_graph().get_tensor_by_name("x:0"))


MIXED: dict[str, Callable[[Any], Any]] = {
    "a floor under a divisor": lambda y: y / tf.maximum(peak() / 12345.0, 1.0),
    "a norm that is clipped": lambda y: y * 1e5 / tf.maximum(norm(), 1e5),
    "a clipped peak": lambda y: y - tf.clip_by_value(peak(), 8000.0, 1e9),
    "a scaled bound": lambda y: tf.where(peak() * 0.001 > 70.0, -y, y),
    "a bound for each column": lambda y: tf.where(
        tf.reduce_any(y > tf.constant([2e4, 3e4, 2e4])), -y, y
    ),
    "a rectified peak": lambda y: y - tf.nn.relu(peak() - 9000.0),
    "a sign of the sum": lambda y: y + tf.sign(tf.floor(norm() / 1e5)),
    "a running sum": lambda y: y + tf.nn.relu(tf.cumsum(y, 0) - 20000.0),
    "a running sum from the end": lambda y: (
        y + tf.nn.relu(tf.cumsum(y, 0, reverse=True) - 20000.0)
    ),
    "a trough": lambda y: y + tf.minimum(tf.reduce_min(y) + 9000.0, 0.0),
}

APART: dict[str, Callable[[Any], Any]] = {
    "softmax": tf.nn.softmax,
    "a norm of each row": lambda y: y / tf.maximum(tf.norm(y, axis=1)[:, None], 1e5),
    "a running sum of each row": lambda y: tf.cumsum(y, 1),
    "a clipped row": lambda y: tf.clip_by_value(y, -1.0, 1.0),
    "finite numbers": lambda y: tf.where(tf.math.is_finite(y), y, 0.0),
    "a loop": lambda y: tf.map_fn(tf.tanh, y),
}


@pytest.mark.parametrize("name", MIXED)
def test_rows_that_may_change_each_other_are_not_joined(
    tmp_path: Path, name: str
) -> None:
    artifact = compile_graph(tmp_path, lambda: tf.identity(MIXED[name](product()), "y"))
    entry = artifact.read_manifest().signatures["serving_default"]

    assert not entry.batchable
    assert "changes the answers of those" in entry.batchable_reason


@pytest.mark.parametrize("name", APART)
def test_rows_that_stay_apart_are_joined(tmp_path: Path, name: str) -> None:
    artifact = compile_graph(tmp_path, lambda: tf.identity(APART[name](product()), "y"))
    entry = artifact.read_manifest().signatures["serving_default"]

    assert entry.batchable, entry.batchable_reason


def each_scaled_if_bright() -> None:
    x = rows("x", 4)
    bright = tf.reduce_max(x, 1, keepdims=True) > 1
    tf.where(bright, x / 255, x, name="y")


def looped_to_the_longest() -> None:
    x = rows("x", None)
    longest = tf.reduce_max(tf.reduce_sum(tf.cast(x > 0, "int32"), 1))
    mask = tf.sequence_mask(tf.reduce_sum(tf.cast(x > 0, "int32"), 1), longest)
    tf.reduce_sum(tf.cast(mask, "float32"), 1, name="y")


@pytest.mark.parametrize(
    "build",
    [
        *(dense, open_length, with_a_flag, of_words),
        *(each_scaled_if_bright, looped_to_the_longest),
    ],
)
def test_batchable(tmp_path: Path, build: Build) -> None:
    entry = compile_graph(tmp_path, build).read_manifest().signatures["serving_default"]

    assert entry.batchable, entry.batchable_reason


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (rows_interact, "other outputs"),
        (time_major, "other outputs"),
        (sorted_rows, "other outputs"),
        (reversed_rows, "other outputs"),
        (pairs, "other outputs"),
        (same_for_all, "proves nothing"),
        (one_answer, "'y' has no leading dimension"),
        (random_op, "change from call to call"),
        (fixed, "'x' has no leading dimension"),
        (any_rank, "'x' has no leading dimension"),
        (one_side_fixed, "'scale' has no leading dimension"),
        (nothing_required, "no required input"),
        (two_at_most, "can't be run together"),
        (scaled_if_any_is_bright, "other outputs"),
        (doubled_if_any_is_large, "changes the answers of those"),
        (kept_if_all_are_small, "changes the answers of those"),
        (turned_if_the_sum_is_large, "changes the answers of those"),
        (mixed_in_a_function, "changes the answers of those"),
    ],
)
def test_not_batchable(tmp_path: Path, build: Build, reason: str) -> None:
    entry = compile_graph(tmp_path, build).read_manifest().signatures["serving_default"]

    assert not entry.batchable
    assert reason in entry.batchable_reason


def test_a_row_that_is_refused_only_keeps_rows_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise InputMismatch("not this row")

    monkeypatch.setattr("inference.compiler.verification.equality.filled_with", refuse)
    entry = compile_graph(tmp_path, dense).read_manifest().signatures["serving_default"]

    assert not entry.batchable
    assert "not this row" in entry.batchable_reason
