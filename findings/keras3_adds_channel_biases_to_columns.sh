#!/usr/bin/env bash
# Keras 3's channels-first layers add their bias to the wrong dimension where the output
# is as wide as it has channels.
#
# What: keras.ops.add(x, y) on the TensorFlow backend squeezes a y with one dimension
#   larger than 1 and calls tf.nn.bias_add, with data_format chosen by size: NHWC where the
#   size equals x's last dimension. With y of shape (1, C, 1, 1) and x of (N, C, H, C), each
#   COLUMN gets the number of a channel: no broadcast of NumPy's, and nobody is told. All
#   layers that add a bias with channels first go through it (Conv*, DepthwiseConv*,
#   SeparableConv*). tf_keras is right, and so is Keras with its channels last.
# Versions: keras 3.15.1, tensorflow 2.21.0, Python 3.11 on Linux x86-64, CPU.
# How it was run: this script, as it is. Output seen:
#   ops.add equals NumPy's: width 4: True, width 3 (= channels): False
#   DepthwiseConv2D, channels first against last: width 4: 0.0, width 3: 30.0
#   confirmed
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 tensorflow==2.21.0

TF_CPP_MIN_LOG_LEVEL=3 KERAS_BACKEND=tensorflow "$folder/venv/bin/python" - <<'PYTHON'
import sys

import keras
import numpy as np

biases = np.array([10.0, 20.0, 40.0], "float32")


def added_right(width):
    x = np.zeros((1, 3, 2, width), "float32")
    y = biases.reshape(1, 3, 1, 1)
    return bool(np.array_equal(keras.ops.add(x, y), x + y))


def difference(width):
    """Of one layer with its channels first and last, on the same numbers."""
    x = np.zeros((1, 3, 2, width), "float32")
    outputs = []

    for data_format, order in (("channels_first", (0, 1, 2, 3)), ("channels_last", (0, 2, 3, 1))):
        layer = keras.layers.DepthwiseConv2D(1, data_format=data_format)
        given = x.transpose(order)
        layer.build(given.shape)
        layer.set_weights([np.ones((1, 1, 3, 1)), biases])
        outputs.append(np.asarray(layer(given)))

    first, last = outputs
    return float(np.abs(first - last.transpose(0, 3, 1, 2)).max())


right = {width: added_right(width) for width in (4, 3)}
gaps = {width: difference(width) for width in (4, 3)}
print(f"ops.add equals NumPy's: width 4: {right[4]}, width 3 (= channels): {right[3]}")
print(f"DepthwiseConv2D, channels first against last: width 4: {gaps[4]}, width 3: {gaps[3]}")

if right != {4: True, 3: False} or gaps[4] != 0 or gaps[3] == 0:
    sys.exit("the behaviour has changed")

print("confirmed")
PYTHON
