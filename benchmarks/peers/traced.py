"""The Keras file behind one traced function: the fast way to call it from Python.

Most tutorials show `model.predict`, which takes a hundred times as long a call.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

MODEL = os.environ.get("PEER_MODEL", "")
PORT = int(os.environ.get("PEER_PORT", "8000"))
MAX_ROWS = 64


class Traced:
    """The `.h5` that `PEER_MODEL` names; float32 arrays in and out."""

    def __init__(self) -> None:
        import keras
        import numpy as np
        import tensorflow as tf

        self.model = keras.models.load_model(MODEL, compile=False)
        self.shape = tuple(self.model.input_shape[1:])
        self.outputs = tuple(self.model.output_shape[1:])
        signature = [tf.TensorSpec([None, *self.shape], tf.float32)]
        self._function = tf.function(
            lambda rows: self.model(rows, training=False), input_signature=signature
        )
        self(np.zeros([1, *self.shape], np.float32))

    def __call__(self, rows: Any) -> Any:
        return self._function(rows).numpy()
