"""The error classes of failures inside TensorFlow."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference.backend import tf, tf1
from inference.errors import ExecutionFailed, InputMismatch
from inference.permissions import Permissions
from inference.runtime.servable import Servable
from tests.support.graphs import (
    compile_graph,
    compile_path,
    floats,
    rows,
    write_saved_model,
)

if TYPE_CHECKING:
    from pathlib import Path

    from inference.artifacts.artifact import Artifact


def packed() -> None:
    raw = tf.io.decode_compressed(rows("packed", dtype="string"), "ZLIB")
    tf.strings.length(raw, name="length")


def breaking_itself() -> tuple[dict[str, Any], dict[str, Any]]:
    """It destroys its own variable, so that every call but the first fails."""
    x = rows("x")
    gain = tf1.get_variable("gain", [], use_resource=True)
    y = x * gain

    with tf.control_dependencies([y]):
        gone = tf.raw_ops.DestroyResourceOp(
            resource=gain.handle, ignore_lookup_error=False
        )

    with tf.control_dependencies([gone]):
        return {"x": x}, {"y": tf.identity(y)}


HUGE = 2**40


def made_of_sizes() -> None:
    """Each output has as many values as its input says."""
    sizes = {
        name: tf1.placeholder("int64", [1], name=name)
        for name in ("fill", "tile", "range", "depth", "broadcast", "text", "pad")
    }
    depth = tf.cast(tf.minimum(sizes["depth"][0], 2**31 - 1), "int32")
    tf.fill(sizes["fill"], 1.0, name="filled")
    tf.tile([1.0], sizes["tile"], name="tiled")
    tf.range(sizes["range"][0], name="ranged")
    tf.one_hot([0] * 512, depth, name="hot")
    tf.broadcast_to(1.0, sizes["broadcast"], name="spread")
    tf.fill(sizes["text"], "a", name="texts")
    tf.pad([1.0], [[0, sizes["pad"][0]]], name="padded")


def refusals(artifact: Artifact) -> dict[str, str]:
    """Return the error's text for each input that asks for a huge output."""
    small, found = np.array([1], np.int64), {}

    with Servable(artifact) as servable:
        names = list(servable.signatures["serving_default"].inputs)
        for name in names:
            inputs = dict.fromkeys(names, small)
            assert servable.run("serving_default", inputs)

            inputs[name] = np.array([HUGE], np.int64)
            with pytest.raises(InputMismatch) as caught:
                servable.run("serving_default", inputs)

            found[name] = str(caught.value)

    return found


def test_sizes_that_no_memory_holds_are_an_input_mismatch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = compile_graph(tmp_path, made_of_sizes)
    # With oneDNN, TensorFlow's own allocator waits ten seconds for memory each time.
    monkeypatch.setenv("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")

    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        found = pool.submit(refusals, artifact).result()

    assert len(found) == 7
    for name, text in found.items():
        assert "for this, and the server has " in text, name
        assert "smaller numbers where they are sizes" in text
        assert "/job" not in text


def test_undecodable_bytes_are_an_input_mismatch(tmp_path: Path) -> None:
    artifact = compile_graph(tmp_path, packed, allow_ops=("DecodeCompressed",))

    with (
        Servable(artifact) as servable,
        pytest.raises(InputMismatch, match="refused the input: inflate"),
    ):
        servable.run("serving_default", {"packed": np.array([b"garbage"], object)})


def test_other_failures_are_execution_failures(tmp_path: Path) -> None:
    path = write_saved_model(tmp_path / "model", breaking_itself)
    allowed = Permissions(allow_ops=("DestroyResourceOp",))
    artifact = compile_path(path, tmp_path / "artifact", permissions=allowed)

    with Servable(artifact) as servable:
        assert servable.run("serving_default", {"x": floats(2)})

        with pytest.raises(ExecutionFailed, match="The model failed: "):
            servable.run("serving_default", {"x": floats(2)})
