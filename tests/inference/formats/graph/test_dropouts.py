"""Numbers that set dropout: by default they keep all elements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference.backend import tf, tf1
from tests.support.trained import answer, defaults, opened, write_trained

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Build = Callable[[Any, Any], Any]


def kept(x: Any, setting: Any) -> Any:
    return tf1.nn.dropout(x, keep_prob=setting)


def kept_as_of_old(x: Any, setting: Any) -> Any:
    """Build dropout as TensorFlow 1 did until 1.12."""
    return x / setting * tf.floor(setting + tf.random.uniform(tf.shape(x)))


def lost(x: Any, setting: Any) -> Any:
    return tf.nn.dropout(x, rate=setting)


@pytest.mark.parametrize("shape", [None, []], ids=["without a shape", "scalar"])
@pytest.mark.parametrize(
    ("build", "value"), [(kept, 1.0), (kept_as_of_old, 1.0), (lost, 0.0)]
)
@pytest.mark.parametrize("name", ["p", "dropout"])
def test_dropout_setting_keeps_all_by_default(
    tmp_path: Path, build: Build, value: float, shape: Any, name: str
) -> None:
    """By its use: both kinds of settings are called `dropout`."""
    right = write_trained(
        tmp_path / "model.pb",
        lambda x: build(x, tf1.placeholder(tf.float32, shape, name)),
        {name: value},
    )

    with opened(tmp_path) as source:
        assert defaults(source) == {name: value, "x": None}
        np.testing.assert_allclose(answer(source), right, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("net/fc_keep_prob", 1.0),
        ("dropout_keep_prob_1", 1.0),
        ("keep_prob_fc2", 1.0),
        ("KeepProb", 1.0),
        ("fc_dropout_rate", 0.0),
        ("drop_prob_2", 0.0),
        ("bookkeeper", None),
        ("gain", None),
    ],
)
def test_unclear_setting_is_judged_by_name(
    tmp_path: Path, name: str, value: float | None
) -> None:
    write_trained(
        tmp_path / "model.pb",
        lambda x: x * tf1.placeholder(tf.float32, [], name),
        {name: 1.0},
    )

    with opened(tmp_path) as source:
        assert defaults(source)[name] == value


def test_random_choice_is_not_dropout(tmp_path: Path) -> None:
    """An agent explores so: with 1 it would never use what it has learned."""

    def build(x: Any) -> Any:
        share = tf1.placeholder(tf.float32, [], "share")
        explores = tf.random.uniform(tf.shape(x)) < share
        return tf.where(explores, -x, x)

    write_trained(tmp_path / "model.pb", build, {"share": 0.0})

    with opened(tmp_path) as source:
        assert defaults(source)["share"] is None
