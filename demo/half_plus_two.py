"""TensorFlow Serving's own first example, x / 2 + 2, as a SavedModel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.backend import tf

if TYPE_CHECKING:
    from pathlib import Path


def write_half_plus_two(folder: Path) -> str:
    """Export it as version 1; return its answers to three numbers."""
    module = tf.Module()
    module.half = tf.Variable(0.5)
    module.two = tf.Variable(2.0)

    def serve(x: Any) -> dict[str, Any]:
        return {"y": x * module.half + module.two}

    module.serve = tf.function(
        serve, input_signature=[tf.TensorSpec([None], tf.float32, name="x")]
    )
    tf.saved_model.save(module, str(folder / "1"), signatures=module.serve)
    answers = module.serve(tf.constant([1.0, 2.0, 5.0]))["y"].numpy()
    return f"1, 2, 5 give {', '.join(map(str, answers))}"
