"""SavedModels as TensorFlow 2 exports them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tests.model_files.cases import Case, Example
from tests.model_files.saved_tf1 import WORDS, floats

if TYPE_CHECKING:
    from pathlib import Path

    from inference.types import Array

SIDECAR = """\
default_signature = "doubled"

[signatures.doubled]
inputs = { number = "doubled_x:0" }
"""


def export(
    path: Path, call: Any, *specs: Any, also: Any = None, **parts: Any
) -> dict[str, Any]:
    """Save a module whose default signature is `call`, with the signatures by key."""
    module = tf.Module()
    for name, value in parts.items():
        setattr(module, name, value)

    module.call = tf.function(call)
    keys = {"serving_default": module.call.get_concrete_function(*specs)}
    if also is not None:
        module.also = tf.function(also)
        keys["doubled"] = module.also.get_concrete_function(*specs)

    tf.saved_model.save(module, str(path), signatures=keys)
    return keys


def answer(function: Any, inputs: dict[str, Array], signature: str = "") -> Example:
    made = function(**{name: tf.constant(value) for name, value in inputs.items()})
    outputs = {name: np.asarray(value) for name, value in made.items()}
    return Example(signature=signature, inputs=inputs, outputs=outputs)


def rows(name: str, *shape: int | None, dtype: str = "float32") -> Any:
    return tf.TensorSpec([None, *shape], dtype, name=name)


def half_plus_two(path: Path) -> tuple[Example, Example]:
    """The classic: x / 2 + 2, and a second signature that doubles."""
    half, two = tf.Variable(0.5), tf.Variable(2.0)
    keys = export(
        path,
        lambda x: {"y": x * half + two},
        rows("x"),
        also=lambda x: {"twice": x * two, "x_again": tf.identity(x)},
        half=half,
        two=two,
    )
    inputs = {"x": np.array([1.0, 2.0, 5.0], "float32")}
    first = answer(keys["serving_default"], inputs)
    return first, answer(keys["doubled"], inputs, "doubled")


def saved_half_plus_two(folder: Path) -> Case:
    path = folder / "model"
    return Case(path=path, examples=half_plus_two(path), batchable=True)


def saved_sidecar(folder: Path) -> Case:
    """The sidecar makes the second signature the default and renames its input."""
    path = folder / "model"
    first, second = half_plus_two(path)
    (path / "model.toml").write_text(SIDECAR)
    number = {"number": second.inputs["x"]}
    renamed = Example(inputs=number, outputs=second.outputs)
    old = Example(
        signature="serving_default", inputs=first.inputs, outputs=first.outputs
    )
    return Case(path=path, examples=(renamed, old))


def saved_other_default(folder: Path) -> Case:
    """The only signature isn't called `serving_default`."""
    path, module = folder / "model", tf.Module()
    module.gain = tf.Variable(floats(3))
    module.call = tf.function(lambda x: {"y": x * module.gain})
    call = module.call.get_concrete_function(rows("x", 3))
    tf.saved_model.save(module, str(path), signatures={"score": call})
    return Case(path=path, examples=(answer(call, {"x": floats(2, 3)}),))


def saved_tf2_table(folder: Path) -> Case:
    """A table from an asset, and a variable that a function captures."""
    path, file = folder / "model", folder / "words.txt"
    file.write_text("\n".join(WORDS))
    whole, line = (
        tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.lookup.TextFileIndex.LINE_NUMBER,
    )
    start = tf.lookup.TextFileInitializer(str(file), tf.string, whole, tf.int64, line)
    table, gain = tf.lookup.StaticHashTable(start, -1), tf.Variable(floats(4, 2))
    inner = tf.function(lambda ids: tf.gather(gain, ids + 1))

    def call(words: Any) -> dict[str, Any]:
        ids = table.lookup(words)
        return {"ids": ids, "vectors": inner(ids)}

    spec = rows("words", None, dtype="string")
    keys = export(path, call, spec, table=table, gain=gain, inner=inner)
    said = np.array([[b"plain", b"good"], [b"unheard", b"bad"]], object)
    example = answer(keys["serving_default"], {"words": said})
    file.unlink()
    return Case(path=path, examples=(example,), batchable=True)


def saved_tf2_while(folder: Path) -> Case:
    """A While whose body reads a variable; the number of turns is an input."""
    path, kernel = folder / "model", tf.Variable(floats(3, 3))

    def call(state: Any, turns: Any) -> dict[str, Any]:
        def turn(index: Any, value: Any) -> Any:
            return index + 1, tf.tanh(value @ kernel)

        start = (tf.constant(0), state)
        _, last = tf.while_loop(lambda index, _: index < turns, turn, start)
        return {"last": tf.ensure_shape(last, [None, 3])}

    specs = rows("state", 3), tf.TensorSpec([], "int32", name="turns")
    keys = export(path, call, *specs, kernel=kernel)
    inputs = {"state": floats(2, 3), "turns": np.array(4, "int32")}
    example = answer(keys["serving_default"], inputs)
    return Case(path=path, examples=(example,), batchable=False)


def saved_dtypes(folder: Path) -> Case:
    """One input and one output of every dtype that models commonly have."""
    path = folder / "model"
    given: dict[str, Array] = {
        name: np.array([[1, 0, 3], [0, 5, 6]]).astype(name)
        for name in ("bool", "uint8", "int8", "int64", "float16", "float64")
    }
    given["bfloat16"] = tf.cast([[1, 0, 3], [0, 5, 6]], tf.bfloat16).numpy()
    given["string"] = np.array([[b"a", b"", b"\xff\x00"], [b"d", b"e", b"f"]], object)
    specs = [rows(f"a_{name}", 3, dtype=name) for name in given]

    def call(*values: Any) -> dict[str, Any]:
        pairs = zip(given, values, strict=True)
        return {f"{name}_reversed": value[:, ::-1] for name, value in pairs}

    keys = export(path, call, *specs)
    inputs = {f"a_{name}": value for name, value in given.items()}
    examples = (answer(keys["serving_default"], inputs),)
    return Case(path=path, examples=examples, batchable=True)


def saved_unused_input(folder: Path) -> Case:
    """One input that no output needs must still be accepted."""
    path = folder / "model"
    keys = export(path, lambda x, mask: {"y": -x}, rows("x", 2), rows("mask", 2))
    inputs = {"x": floats(3, 2), "mask": floats(3, 2)}
    return Case(path=path, examples=(answer(keys["serving_default"], inputs),))


def saved_counter(folder: Path) -> Case:
    """Stateful though no variable is trained: it counts its calls in a variable."""
    path, calls = folder / "model", tf.Variable(0, dtype=tf.int64)

    def call(x: Any) -> dict[str, Any]:
        calls.assign_add(1)
        return {"y": x * 2.0}

    keys = export(path, call, rows("x", 2), calls=calls)
    return Case(
        path=path, examples=(answer(keys["serving_default"], {"x": floats(3, 2)}),)
    )
