#!/usr/bin/env bash
# TensorFlow infers a wrong static shape for a Conv3D whose rows and columns are dilated
# by different rates: it takes each one's rate for the other.
#
# What: shape inference says (1, 19, 17, 18, 1) where the kernel gives (1, 19, 18, 17, 1),
#   for a 2x2x2 filter over 20x20x20 with dilations [1, 1, 2, 3, 1] and VALID padding. With
#   a picture that is smaller along one side, building a valid graph fails with "Negative
#   dimension size". Whatever trusts the static shape (a Reshape with constants, a
#   SavedModel's signature) is wrong with it. Equal rates hide it.
# Versions: tensorflow 2.21.0, Python 3.11 on Linux x86-64, CPU with oneDNN on (without
#   oneDNN there is no kernel for dilations other than 1).
# How it was run: this script, as it is. Output seen:
#   [1, 1, 2, 3, 1] inferred (1, 19, 17, 18, 1) computed (1, 19, 18, 17, 1)
#   [1, 2, 2, 2, 1] inferred (1, 18, 18, 18, 1) computed (1, 18, 18, 18, 1)
#   confirmed
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow==2.21.0

TF_CPP_MIN_LOG_LEVEL=3 TF_ENABLE_ONEDNN_OPTS=1 "$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import tensorflow as tf


def shapes(dilations):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [1, 20, 20, 20, 1])
        y = tf.nn.conv3d(x, tf.ones([2, 2, 2, 1, 1]), [1] * 5, "VALID", dilations=dilations)
        computed = session.run(y, {x: np.ones(x.shape, "float32")}).shape
        return tuple(y.shape), computed


found = {rates: shapes(list(rates)) for rates in ((1, 1, 2, 3, 1), (1, 2, 2, 2, 1))}

for rates, (inferred, computed) in found.items():
    print(list(rates), "inferred", inferred, "computed", computed)

if [inferred == computed for inferred, computed in found.values()] != [False, True]:
    sys.exit("the behaviour has changed")

print("confirmed")
PYTHON
