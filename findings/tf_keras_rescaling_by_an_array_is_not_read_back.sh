#!/usr/bin/env bash
# tf_keras can't read back its own `.keras` file of a Rescaling layer with an array.
#
# What: `Rescaling(scale=array)` scales each channel by its own number, as preprocessing
#   of images does. Saved as `.keras`, the array is written as `__numpy__` and handed to
#   the layer as a dict on loading: "could not be deserialized properly". The same model
#   as `.h5` can be read, and so can Keras 3's own `.keras` of the same layer. A scale
#   that is one number hides it.
# Versions: tf_keras 2.21.0, keras 3.15.1, tensorflow 2.21.0, Python 3.11 on Linux x86-64.
# How it was run: this script, as it is. Output seen:
#   tf_keras .h5: read
#   tf_keras .keras: TypeError, could not be deserialized properly
#   keras .keras: read
#   confirmed
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet \
    tensorflow==2.21.0 tf_keras==2.21.0 keras==3.15.1

FILES="$folder" TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import os
import sys
from pathlib import Path

import keras
import numpy as np
import tf_keras

found = {}

for kind, suffix in ((tf_keras, ".h5"), (tf_keras, ".keras"), (keras, ".keras")):
    path = Path(os.environ["FILES"], f"{kind.__name__}{suffix}")
    scale = np.array([1.0, 2.0, 3.0], "float32")
    model = kind.Sequential([kind.layers.Input((3,)), kind.layers.Rescaling(scale)])
    model.save(path)

    try:
        kind.models.load_model(path)
        said = "read"
    except TypeError as error:
        words = "could not be deserialized properly"
        said = f"TypeError, {words if words in str(error) else error}"

    found[f"{kind.__name__} {suffix}"] = said
    print(f"{kind.__name__} {suffix}:", said)

if [said == "read" for said in found.values()] != [True, False, True]:
    sys.exit("the behaviour has changed")

print("confirmed")
PYTHON
