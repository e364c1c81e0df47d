#!/usr/bin/env bash
# `model.submodules` raises for a tf_keras model whose recurrent cells have dropout.
#
# What: tf.Module lists submodules by walking attributes, and sorts the keys of each
#   mapping. A recurrent cell with dropout keeps its masks in a mapping whose keys are
#   graphs (`_dropout_mask_cache`). A layer that runs its cell in a loop (SimpleRNN, or
#   LSTM and GRU with recurrent_dropout) leaves two there once the model is built: the
#   model's graph and that of the loop's body, which can't be compared. So whatever
#   walks the submodules fails, for a valid model that predicts. An LSTM with dropout
#   alone runs without its cell, which hides it. `_flatten_layers()` lists the same
#   layers and works.
# Versions: tensorflow 2.21.0, tf_keras 2.21.0, Python 3.11 on Linux x86-64.
# How it was run: this script, as it is. Output seen:
#   no dropout: 3 submodules
#   dropout: ValueError: Error processing property '_dropout_mask_cache' ...
#     caused by TypeError: '<' not supported between instances of ...
#   predicts all the same: (1, 3)
#   confirmed
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow==2.21.0 tf_keras==2.21.0

TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import tf_keras
from tf_keras import layers


def model(dropout):
    return tf_keras.Sequential(
        [layers.Input((4, 2)), layers.SimpleRNN(3, dropout=dropout)]
    )


print("no dropout:", len(model(0.0).submodules), "submodules")
dropping = model(0.5)

try:
    dropping.submodules
except ValueError as error:
    cause = error.__cause__
    print("dropout: ValueError:", str(error)[:46], "...")
    print("  caused by", type(cause).__name__ + ":", str(cause)[:38], "...")
    failed = isinstance(cause, TypeError)
else:
    failed = False

shape = dropping(np.zeros((1, 4, 2), "float32")).shape
print("predicts all the same:", tuple(shape))

if not failed:
    sys.exit("the behaviour has changed")

print("confirmed")
PYTHON
