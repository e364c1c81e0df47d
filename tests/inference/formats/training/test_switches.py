"""Training that was left in a frozen graph: seen by its use, and switched off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference.backend import tf, tf1
from inference.errors import InvalidModel
from inference.runtime.servable import Servable
from tests.support.graphs import compile_path
from tests.support.trained import (
    FLAGS,
    ROWS,
    answer,
    averaged,
    defaults,
    fused,
    nested,
    normalised,
    opened,
    variable,
    write_trained,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Build = Callable[[Any, Any], Any]


def updated(x: Any, flag: Any) -> Any:
    """With what was kept after its update, so that the update is needed."""
    kept = variable("kept", 0.5)
    return x - tf1.cond(flag, lambda: tf1.assign_add(kept, x[0]), lambda: kept + 0.0)


BUILDS = [normalised, averaged, fused, nested, updated]


@pytest.mark.parametrize("kind", FLAGS)
@pytest.mark.parametrize("build", BUILDS)
def test_broken_training_branch_is_cut(tmp_path: Path, build: Build, kind: str) -> None:
    """Right is what the graph gave with the flag false, before it was frozen."""
    fixed = {} if kind.startswith("constant") else {"mode": False}
    right_kind = "constant false" if kind == "constant true" else kind
    right = write_trained(
        tmp_path / "model.pb", lambda x: build(x, FLAGS[right_kind]("mode")), fixed
    )
    write_trained(tmp_path / "model.pb", lambda x: build(x, FLAGS[kind]("mode")), fixed)

    with opened(tmp_path) as source:
        np.testing.assert_allclose(answer(source), right, atol=1e-5)
        assert defaults(source) == {"x": None}
        assert any("'mode'" in note for note in source.notes)


def test_cut_graph_is_compiled(tmp_path: Path) -> None:
    right = write_trained(
        tmp_path / "model.pb",
        lambda x: nested(x, FLAGS["placeholder"]("mode")),
        {"mode": False},
    )
    artifact = compile_path(tmp_path / "model.pb", tmp_path / "artifact")

    with Servable(artifact) as servable:
        given = servable.run("serving_default", {"x": ROWS})["result"]

    np.testing.assert_allclose(given, right, atol=1e-5)
    assert artifact.read_manifest().optimization == "full"


@pytest.mark.parametrize("kind", ["placeholder", "true by default"])
def test_inference_flag_stays_true(tmp_path: Path, kind: str) -> None:
    right = write_trained(
        tmp_path / "model.pb",
        lambda x: normalised(x, FLAGS[kind]("serving"), train_if=False),
        {"serving": True},
    )

    with opened(tmp_path) as source:
        np.testing.assert_allclose(answer(source), right, atol=1e-5)


def test_negated_flag_is_followed(tmp_path: Path) -> None:
    right = write_trained(
        tmp_path / "model.pb",
        lambda x: normalised(x, tf.logical_not(FLAGS["placeholder"]("frozen"))),
        {"frozen": True},
    )

    with opened(tmp_path) as source:
        np.testing.assert_allclose(answer(source), right, atol=1e-5)


def updated_either_way(x: Any, flag: Any) -> Any:
    kept = variable("kept", 0.5)
    up, down = (lambda: tf1.assign_add(kept, x[0])), (lambda: tf1.assign(kept, x[0]))
    return x - tf1.cond(flag, up, down)


def test_flag_that_always_trains_is_required(tmp_path: Path) -> None:
    write_trained(
        tmp_path / "model.pb",
        lambda x: updated_either_way(x, FLAGS["placeholder"]("mode")),
        {"mode": False},
    )

    with (
        pytest.raises(InvalidModel, match=r"'mode' selects.*\[constants\] \"mode\""),
        opened(tmp_path),
    ):
        pass


def test_data_dependent_training_must_be_decided(tmp_path: Path) -> None:
    right = write_trained(
        tmp_path / "model.pb",
        lambda x: updated(x, tf.greater(tf.reduce_sum(x), 1e6, name="large")),
    )

    with pytest.raises(InvalidModel, match=r"'large' selects"), opened(tmp_path):
        pass

    with opened(tmp_path, "[constants]\nlarge = false\n") as source:
        np.testing.assert_allclose(answer(source), right, atol=1e-5)


def test_sidecar_cannot_select_a_broken_branch(tmp_path: Path) -> None:
    write_trained(
        tmp_path / "model.pb",
        lambda x: updated(x, FLAGS["placeholder"]("mode")),
        {"mode": False},
    )

    with (
        pytest.raises(InvalidModel, match=r"\[constants\] has for 'mode'"),
        opened(tmp_path, "[constants]\nmode = true\n"),
    ):
        pass


def updated_always(x: Any) -> Any:
    kept = variable("kept", 0.5)
    level = tf.reduce_mean(x, 0)

    with tf1.control_dependencies([tf1.assign_sub(kept, 0.1 * (kept - level))]):
        return tf.identity(x - level)


def test_unread_update_is_dropped(tmp_path: Path) -> None:
    right = write_trained(tmp_path / "model.pb", updated_always)

    with opened(tmp_path) as source:
        np.testing.assert_allclose(answer(source), right, atol=1e-5)


def read_after_update(x: Any) -> Any:
    kept = variable("kept", 0.5)

    with tf1.control_dependencies([tf1.assign(kept, tf.reduce_mean(x, 0))]):
        return x - kept.read_value()


def test_update_needed_by_an_output_is_refused(tmp_path: Path) -> None:
    write_trained(tmp_path / "model.pb", read_after_update)

    with pytest.raises(InvalidModel, match="runs in every call"), opened(tmp_path):
        pass


def dropped(x: Any, flag: Any) -> Any:
    return tf1.cond(flag, lambda: tf.nn.dropout(x, 0.5), lambda: tf.identity(x))


def dropped_by_selection(x: Any, flag: Any) -> Any:
    chosen = tf.fill([tf.shape(x)[0]], flag)
    return tf1.where(chosen, tf.nn.dropout(x, 0.5), x)


def dropped_by_negation(x: Any, flag: Any) -> Any:
    chosen = tf.logical_not(tf.fill([tf.shape(x)[0]], flag))
    return tf1.where(chosen, x, tf.nn.dropout(x, 0.5))


def batch_statistics(x: Any, flag: Any) -> Any:
    """As `tf.layers` does it, whose updates are frozen away."""
    batch, kept = tf.nn.moments(x, [0])[0], tf.constant([0.1, 0.2, 0.3, 0.4])
    return x - tf1.cond(flag, lambda: batch, lambda: kept)


@pytest.mark.parametrize("kind", ["placeholder", "without a shape", "true by default"])
@pytest.mark.parametrize(
    "build", [dropped, dropped_by_selection, dropped_by_negation, batch_statistics]
)
def test_working_training_branch_is_optional(
    tmp_path: Path, build: Build, kind: str
) -> None:
    right = write_trained(
        tmp_path / "model.pb",
        lambda x: build(x, FLAGS[kind]("mode")),
        {"mode": False},
    )

    with opened(tmp_path) as source:
        assert defaults(source) == {"mode": False, "x": None}
        np.testing.assert_allclose(answer(source), right, atol=1e-5)
        assert np.abs(answer(source, mode=True) - right).max() > 0.01


@pytest.mark.parametrize("old", [True, False], ids=["frames", "functions"])
def test_dropout_in_a_function_is_found(tmp_path: Path, old: bool) -> None:
    def build(x: Any) -> Any:
        if not old:
            tf1.enable_control_flow_v2()

        return dropped(x, FLAGS["placeholder"]("mode"))

    write_trained(tmp_path / "model.pb", build, {"mode": False})

    with opened(tmp_path) as source:
        assert defaults(source) == {"mode": False, "x": None}


def test_constant_flag_is_off_unless_the_sidecar_sets_it(
    tmp_path: Path,
) -> None:
    write_trained(
        tmp_path / "model.pb",
        lambda x: batch_statistics(x, FLAGS["constant true"]("mode")),
    )

    with opened(tmp_path) as source:
        kept = ROWS - [0.1, 0.2, 0.3, 0.4]
        np.testing.assert_allclose(answer(source), kept, atol=1e-5)

    with opened(tmp_path, "[constants]\nmode = true\n") as source:
        np.testing.assert_allclose(answer(source), ROWS - ROWS.mean(0), atol=1e-5)


def test_switch_without_training_is_required(tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        flag = FLAGS["placeholder"]("squared")
        return tf1.cond(flag, lambda: x * x, lambda: tf.identity(x))

    right = write_trained(tmp_path / "model.pb", build, {"squared": True})

    with opened(tmp_path) as source:
        assert defaults(source) == {"squared": None, "x": None}
        np.testing.assert_allclose(answer(source, squared=True), right, atol=1e-5)
