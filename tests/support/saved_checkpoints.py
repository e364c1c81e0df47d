"""Checkpoints as TensorFlow 1's saver writes them, and the session's own outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inference.backend import tf, tf1
from tests.support.graphs import floats, old_control_flow, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from inference.types import Array

    Build = Callable[[Any], Any]

ROWS = floats(3, 4)


def variable(name: str, *shape: int, resource: bool = False) -> Any:
    values = np.random.default_rng(list(name.encode())).normal(size=shape)
    return tf1.get_variable(
        name, initializer=values.astype("float32"), use_resource=resource
    )


def dense(x: Any) -> Any:
    return tf.nn.softmax(x @ variable("kernel", 4, 3) + variable("bias", 3))


def save(
    prefix: Path,
    build: Build,
    *,
    feeds: Mapping[str, object] | None = None,
    saver: Callable[[], Any] = lambda: tf1.train.Saver(),
    **options: Any,
) -> Array:
    """Save what `build` makes of rows; return the outputs of the operation `result`."""
    with old_control_flow(), tf.Graph().as_default(), tf1.Session() as session:
        tf.identity(build(rows("x", 4)), name="result")
        session.run([tf1.global_variables_initializer(), tf1.tables_initializer()])
        saver().save(session, str(prefix), **options)
        fed = {f"{name}:0": value for name, value in (feeds or {}).items()}
        return np.asarray(session.run("result:0", {"x:0": ROWS, **fed}))
