#!/usr/bin/env bash
# Keras 3 reads its own .h5 files without any `axis` of two or more dimensions: the layer
# gets its default instead, and the model answers other numbers without an error.
#
# What: keras/src/legacy/saving/saving_utils.py takes "axis" out of each layer's config and
#   puts it back only where it is one number or a list of one. Softmax(axis=(1, 2)) comes
#   back along the last axis, UnitNormalization(axis=(1, 2)) too; a LayerNormalization over
#   two axes fails for the shapes of its weights. The same models saved as .keras are right.
# Versions: keras 3.15.1, tensorflow 2.21.0, h5py 3.14.0, Python 3.11 on Linux x86-64, CPU.
# How it was run: this script, as it is. Output seen:
#   Softmax .keras [1, 2] equal
#   Softmax .h5 -1 other numbers
#   UnitNormalization .keras [1, 2] equal
#   UnitNormalization .h5 -1 other numbers
#   confirmed
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 tensorflow==2.21.0 h5py==3.14.0

cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" 2>"$folder/log" - <<'PYTHON' || { cat "$folder/log"; exit 1; }
import sys

import keras
import numpy as np

x = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype("float32")
found = []

for kind in (keras.layers.Softmax, keras.layers.UnitNormalization):
    model = keras.Sequential([keras.Input((4, 5, 3)), kind(axis=(1, 2))])

    for suffix in (".keras", ".h5"):
        model.save(f"model{suffix}")
        read = keras.models.load_model(f"model{suffix}", compile=False)
        same = np.allclose(model(x), read(x), atol=1e-5)
        found.append(same)
        words = "equal" if same else "other numbers"
        print(kind.__name__, suffix, read.layers[-1].axis, words)

if found != [True, False, True, False]:
    sys.exit("the behaviour has changed")

print("confirmed")
PYTHON
