"""Side outputs of published graphs aren't served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from inference.runtime.servable import Servable
from tests.support.graphs import compile_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS = tf.TensorSpec([None, 2], tf.float32, name="x")


def asserted(x: Any) -> Any:
    tf.debugging.assert_less(x, 1000.0)
    return x * 2.0


def asserted_twice(x: Any) -> Any:
    tf.debugging.assert_all_finite(x, "no number")
    tf.debugging.assert_greater(tf.shape(x)[0], 0)
    return tf.reduce_sum(asserted(x), axis=1)


def sized(x: Any) -> Any:
    tf.shape(x, name="size")
    return x + 1.0


@pytest.mark.parametrize("lowered", [True, False])
@pytest.mark.parametrize("build", [asserted, asserted_twice, sized])
def test_side_outputs_are_dropped(
    tmp_path: Path, build: Callable[[Any], Any], *, lowered: bool
) -> None:
    function = tf.function(build, input_signature=[ROWS]).get_concrete_function()
    frozen = convert_variables_to_constants_v2(function, lower_control_flow=lowered)
    path = tmp_path / "model.pb"
    path.write_bytes(frozen.graph.as_graph_def().SerializeToString())
    inputs = np.array([[0.5, 1.5], [2.0, 3.0]], "float32")

    with Servable(compile_path(path, tmp_path / "artifact")) as servable:
        signature = servable.signatures["serving_default"]
        (answer,) = servable.run("serving_default", {"x": inputs}).values()

    assert signature.batchable, signature.batchable_reason
    np.testing.assert_allclose(answer, build(tf.constant(inputs)))
