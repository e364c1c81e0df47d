from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

from inference.artifacts.weights import PAGE
from inference.backend import tf, tf1
from inference.compiler.rewriting import forms
from inference.compiler.weights import externalize
from inference.runtime.servable import Servable
from tests.support.arrays import assert_outputs
from tests.support.graphs import (
    compile_graph,
    compile_path,
    floats,
    old_control_flow,
    rows,
    write_saved_model,
)

if TYPE_CHECKING:
    from inference.artifacts.artifact import Artifact
    from inference.types import Array

KERNEL = floats(64, 300)
MAPS = Path("/proc/self/smaps")
VALUES: dict[str, Array] = {
    "float16": floats(3, 1024).astype("float16"),
    "bfloat16": floats(3, 1024).astype(ml_dtypes.bfloat16),
    "float64": floats(3, 1024).astype("float64"),
    "int8": np.arange(3 * 5000, dtype="int8").reshape(3, 5000),
    "int64": np.arange(3 * 1024).reshape(3, 1024) * 2**40,
    "bool": floats(3, 5000) > 0,
    "string": np.array([[b"a", b"\xff\x00"], [b"", b"c"], [b"d", b"e"]], object),
    "complex64": (floats(3, 1024) * 1j).astype("complex64"),
}
SMALL = {kind: value[:, :2] for kind, value in VALUES.items()}


def heavy() -> tuple[dict[str, Any], dict[str, Any]]:
    x = rows("x", 64)
    start = tf1.constant_initializer(KERNEL)
    kernel = tf1.get_variable("kernel", KERNEL.shape, initializer=start)
    return {"x": x}, {"y": tf.matmul(x, kernel)}


def heavy_constant() -> None:
    tf.add(tf.matmul(rows("x", 64), KERNEL), 0.5, name="y")


def of_every_dtype(*, variables: bool, values: dict[str, Array]) -> Any:
    """Build lookups in a table of each dtype, in the order of `ids`."""
    ids = rows("ids", dtype="int32")
    tables = {
        name: tf1.get_variable(name, dtype=kind_of(value), initializer=tensor(value))
        if variables
        else tf.constant(value, kind_of(value))
        for name, value in values.items()
    }
    outputs = {name: tf.gather(table, ids) for name, table in tables.items()}
    return {"ids": ids}, outputs


def kind_of(value: Array) -> Any:
    return tf.string if value.dtype == object else tf.dtypes.as_dtype(value.dtype)


def tensor(value: Array) -> Any:
    return tf.constant(value, kind_of(value))


def only_weight(artifact: Artifact) -> Path:
    """Return the one file that has weights."""
    assert artifact.weights.read_bytes() == b""
    [path] = artifact.large_weights.iterdir()
    return path


@pytest.fixture(scope="module")
def frozen_heavy(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return compile_graph(tmp_path_factory.mktemp("heavy"), heavy_constant)


def mapped_kib(path: Path) -> dict[str, int]:
    """Return the size of this process' mappings of a value by the kernel, in KiB.

    The memory is named after the value's file.
    """
    totals: dict[str, int] = {}
    inside = False

    for line in MAPS.read_text().splitlines():
        words = line.split()

        if not words[0].endswith(":"):
            inside = f"/memfd:tandem-{path.name}" in words
        elif inside and words[-1] == "kB":
            totals[words[0]] = totals.get(words[0], 0) + int(words[1])

    return totals


def test_only_large_values_leave_the_graph() -> None:
    with tf.Graph().as_default() as graph:
        tf1.constant(KERNEL, name="large")
        tf1.constant(1.5, shape=[2048], name="repeated")
        tf1.constant(floats(PAGE // 4 - 1), name="small")
        tf1.constant(["word"] * PAGE, name="words")

    graph_def = graph.as_graph_def()
    values = externalize(graph_def, {"v": KERNEL, "s": floats(3)})

    assert set(values.large) == {"v", "repeated/handle"}
    assert set(values.small) == {"s"}
    np.testing.assert_array_equal(values.large["v"].value, KERNEL)
    assert values.large["repeated/handle"].value.tolist() == [1.5] * 2048
    kinds = {node.name: node.op for node in graph_def.node}
    sources = {node.name: list(node.input) for node in graph_def.node}
    assert kinds["large"] == kinds["repeated"] == "ReadVariableOp"
    assert kinds["small"] == kinds["words"] == "Const"
    assert sources["large"] == ["v"], "equal to a variable that is only read"


def test_equal_constants_share_a_variable() -> None:
    with tf.Graph().as_default() as graph:
        tf1.constant(KERNEL, name="one")
        tf1.constant(KERNEL, name="other")
        tf1.constant(KERNEL.T, name="turned")
        tf1.constant(KERNEL.view("int32"), name="bits")

    graph_def = graph.as_graph_def()
    values = externalize(graph_def, {"v": KERNEL}, written={"v"})
    sources = {node.name: node.input[0] for node in graph_def.node if node.input}

    assert set(values.large) == {"v", "one/handle", "turned/handle", "bits/handle"}
    assert sources["one"] == sources["other"] == "one/handle"
    assert [each.owner for each in values.large.values()] == ["v", "", "", ""]


def test_constant_of_a_loop_frame_stays(tmp_path: Path) -> None:
    def loop() -> None:
        def turn(number: Any, value: Any) -> Any:
            # Made inside the body, so that it belongs to the loop's frame.
            return number + 1, value @ tf1.constant(floats(64, 64)) / 8.0

        x = rows("x", 64)
        _, last = tf1.while_loop(lambda number, _: number < 2, turn, (0, x))
        tf.identity(last, name="y")

    with old_control_flow():
        artifact = compile_graph(tmp_path, loop)

    assert artifact.read_manifest().optimization == "full"
    x = floats(2, 64)

    with Servable(artifact) as servable:
        y = servable.run("serving_default", {"x": x})["y"]

    wanted = x @ floats(64, 64) @ floats(64, 64) / 64.0
    np.testing.assert_allclose(y, wanted, atol=1e-4)


def test_weights_are_stored_outside_the_graph(frozen_heavy: Artifact) -> None:
    manifest = frozen_heavy.read_manifest()

    assert manifest.graph_bytes < PAGE
    assert manifest.weights_bytes == KERNEL.nbytes
    assert only_weight(frozen_heavy).read_bytes() == KERNEL.tobytes()


def test_above_the_limit_weights_stay_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forms, "FREEZE_LIMIT", KERNEL.nbytes - 1)
    path = write_saved_model(tmp_path / "model", heavy)
    artifact = compile_path(path, tmp_path / "artifact")

    manifest = artifact.read_manifest()
    assert manifest.optimization == "inlined"
    assert manifest.graph_bytes < PAGE
    assert only_weight(artifact).read_bytes() == KERNEL.tobytes()
    x = floats(2, 64)

    with Servable(artifact) as servable:
        y = servable.run("serving_default", {"x": x})["y"]

    np.testing.assert_allclose(y, x @ KERNEL, atol=1e-4)


@pytest.mark.parametrize("limit", [0, forms.FREEZE_LIMIT])
@pytest.mark.parametrize("values", [VALUES, SMALL], ids=["large", "small"])
@pytest.mark.parametrize("variables", [True, False], ids=["variables", "constants"])
def test_weights_of_every_dtype(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    limit: int,
    values: dict[str, Array],
    variables: bool,
) -> None:
    monkeypatch.setattr(forms, "FREEZE_LIMIT", limit)
    path = write_saved_model(
        tmp_path / "model", lambda: of_every_dtype(variables=variables, values=values)
    )
    artifact = compile_path(path, tmp_path / "artifact")
    ids = np.array([2, 0], "int32")

    with Servable(artifact) as servable:
        outputs = servable.run("serving_default", {"ids": ids})

    assert_outputs(outputs, {name: value[ids] for name, value in values.items()}, 0)
    kinds = {weight.dtype for weight in artifact.read_manifest().weights}
    assert kinds == (set(VALUES) - {"string"} if values is VALUES else set())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/smaps")
def test_mapped_weights_are_views_of_sealed_memory(frozen_heavy: Artifact) -> None:
    ((feed, value),) = frozen_heavy.map_weights(frozen_heavy.read_manifest()).items()

    assert feed == "tandem/weight_0"
    assert mapped_kib(only_weight(frozen_heavy))
    assert value.ctypes.data % PAGE == 0
    np.testing.assert_array_equal(value, KERNEL)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/smaps")
def test_loaded_weights_are_not_copied(frozen_heavy: Artifact) -> None:
    servable = Servable(frozen_heavy)
    servable.run("serving_default", {"x": floats(1, 64)})
    # TensorFlow drops arrays that were fed when another session runs.
    Servable(frozen_heavy).close()
    gc.collect()

    loaded = mapped_kib(only_weight(frozen_heavy))
    assert loaded["Rss:"] * 1024 >= KERNEL.nbytes
    assert loaded["Anonymous:"] == 0

    servable.close()
    assert mapped_kib(only_weight(frozen_heavy)) == {}
