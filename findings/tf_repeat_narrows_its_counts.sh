#!/usr/bin/env bash
# tf.repeat takes 64-bit counts and narrows them to 32 bits: 2^40 repeats give nothing.
#
# What: `tf.repeat(x, n)` casts an int64 `n` to int32 without a check. n = 2^32 + 2 gives
#   two copies and n = 2^40 none, with no error; a count that becomes negative is refused
#   by the kernel that follows. `tf.tile`, `tf.fill` and `tf.range` take all 64 bits, and
#   fail for want of memory.
# Versions: tensorflow 2.21.0, Python 3.11 on Linux x86-64, CPU.
# How it was run: this script, as it is. Output seen:
#   4294967298 repeats: 2 values
#   1099511627776 repeats: 0 values
#   confirmed
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow==2.21.0

TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - <<'PYTHON'
import sys

import tensorflow as tf

found = []
for count in (2**32 + 2, 2**40):
    values = tf.repeat(tf.constant([1.0]), tf.constant([count], tf.int64))
    found.append(int(tf.size(values)))
    print(f"{count} repeats: {found[-1]} values")

if found != [2, 0]:
    sys.exit("the behaviour has changed")

print("confirmed")
PYTHON
