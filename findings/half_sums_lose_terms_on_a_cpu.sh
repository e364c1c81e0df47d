#!/usr/bin/env bash
# Means and sums of float16 on a CPU depend on how many channels there are, and on which
# axis they run along.
#
# What: a mean over 112x112 positions of 4.0, channels last, is 4.0 with one channel,
#   0.653 with two and 2.611 with eight. tf.reduce_sum along the first axis stops at 8192
#   for 12544 ones, along the last it doesn't; tf.cumsum of 4000 ones stops at 2048.
#   bfloat16 means are right. Eager calls and graphs give the same.
# Versions: tensorflow 2.21.0, Python 3.11 on Linux x86-64, oneDNN on or off.
# How it was run: this script, as it is. Output seen:
#   mean of 4.0 with 1, 2, 8 channels: 4.0 0.65283203125 2.611328125
#   the same in bfloat16: 4.0 4.0 4.0
#   sum of 12544 ones: first axis 8192.0, last axis 12544.0
#   cumsum of 4000 ones: 2048.0
#   confirmed
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow==2.21.0

TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - <<'PYTHON'
import sys

import tensorflow as tf


def filled(shape, value, dtype):
    return tf.fill(shape, tf.cast(value, dtype))


def means(dtype):
    pictures = (filled([1, 112, 112, size], 4.0, dtype) for size in (1, 2, 8))
    return [float(tf.reduce_mean(each, [1, 2])[0, 0]) for each in pictures]


half, brain = means("float16"), means("bfloat16")
ones = filled([12544, 8], 1.0, "float16")
first = float(tf.reduce_sum(ones, 0)[0])
last = float(tf.reduce_sum(tf.transpose(ones), 1)[0])
running = float(tf.cumsum(filled([4000], 1.0, "float16"))[-1])

print("mean of 4.0 with 1, 2, 8 channels:", *half)
print("the same in bfloat16:", *brain)
print(f"sum of 12544 ones: first axis {first}, last axis {last}")
print("cumsum of 4000 ones:", running)

wrong = half[0] == 4.0 and half[1] < 1.0 and 2.0 < half[2] < 3.0
stops = (first, last, running) == (8192.0, 12544.0, 2048.0)

if not wrong or not stops or brain != [4.0, 4.0, 4.0]:
    sys.exit("the behaviour has changed")

print("confirmed")
PYTHON
