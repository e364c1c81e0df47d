#!/usr/bin/env bash
# A convolution of no rows gives a tensor of its input's shape where oneDNN is on:
# height, width and channels are those that went in, not those that should come out.
#
# What: a picture without detections hands (0, 9, 9, 3) to a detector's second stage. A
#   filter of 5x5x3x4 over it, VALID, gives (0, 9, 9, 3), where shape inference and the
#   kernel without oneDNN say (0, 5, 5, 4). What follows (a Dense layer behind a reshape, a
#   concatenation) then fails for sizes that don't match, with zero rows only. Matrix
#   products and pools of no rows are right.
# Versions: tensorflow 2.21.0, Python 3.11 on Linux x86-64, CPU.
# How it was run: this script, as it is. Output seen:
#   onednn=1 conv2d (0, 9, 9, 3) depthwise (0, 9, 9, 3) pool (0, 4, 4, 3)
#   onednn=0 conv2d (0, 5, 5, 4) depthwise (0, 5, 5, 6) pool (0, 4, 4, 3)
#   confirmed
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow==2.21.0

cat >"$folder/shapes.py" <<'PYTHON'
import os

import tensorflow as tf


@tf.function(input_signature=[tf.TensorSpec([None, 9, 9, 3])])
def second_stage(crops):
    return (
        tf.nn.conv2d(crops, tf.ones([5, 5, 3, 4]), 1, "VALID"),
        tf.nn.depthwise_conv2d(crops, tf.ones([5, 5, 3, 2]), [1] * 4, "VALID"),
        tf.nn.max_pool2d(crops, 2, 2, "VALID"),
    )


conv2d, depthwise, pool = (tuple(y.shape) for y in second_stage(tf.zeros([0, 9, 9, 3])))
switch = os.environ["TF_ENABLE_ONEDNN_OPTS"]
print(f"onednn={switch} conv2d {conv2d} depthwise {depthwise} pool {pool}")
PYTHON

for switch in 1 0; do
    TF_CPP_MIN_LOG_LEVEL=3 TF_ENABLE_ONEDNN_OPTS=$switch \
        "$folder/venv/bin/python" "$folder/shapes.py"
done | tee "$folder/seen"

diff "$folder/seen" - <<'SEEN' || { echo "the behaviour has changed"; exit 1; }
onednn=1 conv2d (0, 9, 9, 3) depthwise (0, 9, 9, 3) pool (0, 4, 4, 3)
onednn=0 conv2d (0, 5, 5, 4) depthwise (0, 5, 5, 6) pool (0, 4, 4, 3)
SEEN

echo confirmed
