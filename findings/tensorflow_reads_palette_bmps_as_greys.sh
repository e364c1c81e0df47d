#!/usr/bin/env bash
# TensorFlow decodes a BMP with a palette as if the palette's indices were greys.
#
# What: a BMP of 8 bits a pixel holds indices into a table of colours in its header.
#   `tf.io.decode_bmp` and `tf.io.decode_image` skip that table and give each index as a
#   grey, without an error: a red pixel of index 1 comes back as (1, 1, 1).
# Versions: tensorflow-cpu 2.21.0, Pillow 13.0.0, Python 3.11 on Linux x86-64.
# How it was run: this script, as it is. Output seen:
#   Pillow: [255, 0, 0]
#   TensorFlow: [1, 1, 1]
#   confirmed
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow-cpu==2.21.0 pillow==13.0.0

TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - <<'PYTHON' 2>"$folder/log"
import io
import sys

import numpy as np
import tensorflow as tf
from PIL import Image

image = Image.new("P", (4, 4), 1)
image.putpalette([0, 0, 0, 255, 0, 0] + [0, 0, 255] * 254)
file = io.BytesIO()
image.save(file, "BMP")

right = np.asarray(image.convert("RGB"))[0, 0].tolist()
found = tf.io.decode_image(file.getvalue(), channels=3).numpy()[0, 0].tolist()
print("Pillow:", right)
print("TensorFlow:", found)

if (right, found) != ([255, 0, 0], [1, 1, 1]):
    sys.exit("not confirmed: it behaves differently now")

print("confirmed")
PYTHON
