#!/usr/bin/env bash
# ml_dtypes narrows a double to bfloat16 in two roundings, through float32.
#
# What: 1 + 2**-8 + 2**-40 lies above the middle of the bfloat16 values 1 and 1.0078125,
#   and becomes 1: rounded to float32 first it is the middle, which goes to the even one.
#   NumPy's float16 gives the upper value for its like, as IEEE 754 asks.
# Versions: ml_dtypes 0.6.0, numpy 2.4.6, Python 3.11 on Linux x86-64.
# How it was run: this script, as it is. Output seen:
#   bfloat16: 1.0, nearest is 1.0078125
#   float16: 1.0009765625, nearest is 1.0009765625
#   confirmed
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet ml_dtypes==0.6.0 numpy==2.4.6

"$folder/venv/bin/python" - <<'PYTHON'
import sys

import ml_dtypes
import numpy as np

brain = float(np.array([1 + 2**-8 + 2**-40]).astype(ml_dtypes.bfloat16)[0])
half = float(np.array([1 + 2**-11 + 2**-40]).astype(np.float16)[0])

print(f"bfloat16: {brain}, nearest is {1 + 2**-7}")
print(f"float16: {half}, nearest is {1 + 2**-10}")

if brain != 1.0 or half != 1 + 2**-10:
    sys.exit("the behaviour has changed")

print("confirmed")
PYTHON
