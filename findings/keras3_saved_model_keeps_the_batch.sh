#!/usr/bin/env bash
# `tf.saved_model.save` of a subclassed Keras 3 model declares a signature for as many rows
# as the model was first called with, and no others.
#
# What: a keras.Model with a `call` of its own is built by its first call, and remembers
#   that call's whole shape, its rows too. Saved by tf.saved_model.save, its
#   `serving_default` states the rows as a fixed dimension: called first on one row, it
#   says [1, 4]. tf_keras opens the rows when it saves; so do Keras 3's own model.export
#   and a model that was built by fit(). Nobody is told. A function that is loaded again
#   doesn't check it and takes two rows; who goes by the signature (its metadata, a server
#   that checks shapes) refuses them.
# Versions: keras 3.15.1, tf_keras 2.21.0, tensorflow 2.21.0, Python 3.11 on Linux x86-64.
# How it was run: this script, as it is. Output seen:
#   Keras 3, tf.saved_model.save after a call on 1 row: [1, 4]
#   Keras 3, tf.saved_model.save after a call on 3 rows: [3, 4]
#   Keras 3, model.export after a call on 1 row: [None, 4]
#   Keras 3, tf.saved_model.save after fit: [None, 4]
#   tf_keras, tf.saved_model.save after a call on 1 row: [None, 4]
#   the loaded function takes two rows all the same: True
#   confirmed
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 tf_keras==2.21.0 tensorflow==2.21.0

cat >"$folder/check.py" <<'PYTHON'
import sys

import keras
import numpy as np
import tensorflow as tf
import tf_keras

root = sys.argv[1]


def made(library):
    class Scores(library.Model):
        def __init__(self):
            super().__init__()
            self.dense = library.layers.Dense(2)

        def call(self, x):
            return self.dense(x)

    return Scores()


def called(library, rows):
    model = made(library)
    model(np.ones((rows, 4), "float32"))
    return model


def fitted():
    model = made(keras)
    model.compile("sgd", "mse")
    model.fit(np.ones((10, 4)), np.ones((10, 2)), batch_size=4, verbose=0)
    return model


def serving(path):
    return tf.saved_model.load(path).signatures["serving_default"]


def shape(name, save):
    save(f"{root}/{name}")
    (spec,) = serving(f"{root}/{name}").structured_input_signature[1].values()
    return spec.shape.as_list()


def saved(model):
    return lambda path: tf.saved_model.save(model, path)


one = called(keras, 1)
found = {
    "Keras 3, tf.saved_model.save after a call on 1 row": shape("one", saved(one)),
    "Keras 3, tf.saved_model.save after a call on 3 rows": shape(
        "three", saved(called(keras, 3))
    ),
    "Keras 3, model.export after a call on 1 row": shape(
        "exported", lambda path: one.export(path, verbose=False)
    ),
    "Keras 3, tf.saved_model.save after fit": shape("fitted", saved(fitted())),
    "tf_keras, tf.saved_model.save after a call on 1 row": shape(
        "old", saved(called(tf_keras, 1))
    ),
}
for name, sizes in found.items():
    print(f"{name}: {sizes}")

(answer,) = serving(f"{root}/one")(inputs=tf.ones((2, 4))).values()
taken = len(answer) == 2
print(f"the loaded function takes two rows all the same: {taken}")
rows = [sizes[0] for sizes in found.values()]
confirmed = rows == [1, 3, None, None, None] and taken
print("confirmed" if confirmed else "not confirmed")
sys.exit(0 if confirmed else 1)
PYTHON

TF_CPP_MIN_LOG_LEVEL=3 KERAS_BACKEND=tensorflow \
  "$folder/venv/bin/python" "$folder/check.py" "$folder"
