#!/usr/bin/env bash
# tf_keras takes no notice of the backend that a `.h5` file was trained with, so kernels
# of convolutions that Theano trained give wrong numbers, without a word.
#
# What: Theano convolves where TensorFlow correlates, so its kernels lie turned round in
#   space. Files say so (`backend: theano`), and Keras 2.2.4 turned them on loading
#   (`_need_convert_kernel` in engine/saving.py). tf_keras kept the function's name and
#   its argument `original_backend`, and lost the turning. Dense layers hide it.
# Versions: tf_keras 2.21.0, tensorflow 2.21.0, keras 2.2.4 (its source is only read),
#   h5py 3.14.0, Python 3.11 on Linux x86-64.
# How it was run: this script, as it is. Output seen:
#   keras 2.2.4 turns kernels: True
#   tf_keras 2.21.0 turns kernels: False
#   largest difference between files of the two backends: 0.0
#   confirmed
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow==2.21.0 tf_keras==2.21.0 h5py==3.14.0
"$folder/venv/bin/pip" install --quiet --no-deps --target "$folder/old" keras==2.2.4

OLD="$folder/old" FILES="$folder" TF_CPP_MIN_LOG_LEVEL=3 \
    "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import inspect
import os
import sys
from pathlib import Path

import h5py
import numpy as np
import tf_keras
from tf_keras import layers
from tf_keras.src.saving.legacy import hdf5_format

old = Path(os.environ["OLD"], "keras", "engine", "saving.py").read_text()
new = inspect.getsource(hdf5_format)
turns = ["_need_convert_kernel(original_backend)" in text for text in (old, new)]
print("keras 2.2.4 turns kernels:", turns[0])
print("tf_keras 2.21.0 turns kernels:", turns[1])

model = tf_keras.Sequential([layers.Input((5, 5, 1)), layers.Conv2D(2, 3)])
rows = np.random.default_rng(0).normal(size=(1, 5, 5, 1)).astype("float32")
answers = []

for backend in ("tensorflow", "theano"):
    path = Path(os.environ["FILES"], f"{backend}.h5")
    model.save(path)

    with h5py.File(path, "a") as file:
        for group in (file, file["model_weights"]):
            group.attrs["keras_version"] = "2.2.4"
            group.attrs["backend"] = backend

    answers.append(np.asarray(tf_keras.models.load_model(path)(rows)))

gap = float(np.abs(answers[0] - answers[1]).max())
print("largest difference between files of the two backends:", gap)

if turns != [True, False] or gap != 0.0:
    sys.exit("the behaviour has changed")

print("confirmed")
PYTHON
