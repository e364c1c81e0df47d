"""Files that Keras 3 writes: `.h5`, `.keras`, weights with their JSON, exports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers

from tests.model_files.cases import Case, Example
from tests.model_files.channels import channels_first_case

if TYPE_CHECKING:
    from pathlib import Path

    from inference.types import Array


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def floats(*shape: int) -> Array:
    return rng().normal(size=shape).astype("float32")


def settle(model: Any) -> Any:
    """Give every weight a value that a wrong reading would show."""
    source = rng()
    for weight in model.weights:
        if "float" not in str(weight.dtype):
            continue

        value = source.normal(scale=0.4, size=weight.shape)
        weight.assign(np.abs(value) + 0.5 if "variance" in weight.path else value)

    return model


def answer(model: Any, names: list[str], **inputs: Array) -> Example:
    """Return the model's own outputs, called `names` in their order."""
    feed: Any = list(inputs.values())
    made = model(feed[0] if len(feed) == 1 else feed, training=False)
    values = [made] if len(names) == 1 else made
    outputs = {
        name: np.asarray(value) for name, value in zip(names, values, strict=True)
    }
    return Example(inputs=inputs, outputs=outputs)


def two_in_two_out() -> Any:
    left = keras.Input((3,), name="left")
    right = keras.Input((2,), name="right")
    joined = layers.Concatenate(name="joined")([left, right])
    hidden = layers.Dense(6, activation="tanh", name="hidden")(joined)
    score = layers.Dense(1, name="score")(hidden)
    label = layers.Dense(4, activation="softmax", name="label")(hidden)
    return settle(keras.Model([left, right], [score, label], name="two"))


def two_in_two_out_example(model: Any) -> Example:
    return answer(model, ["score", "label"], left=floats(5, 3), right=floats(5, 2))


def dense() -> Any:
    stack = [
        keras.Input((4,), name="measures"),
        layers.Dense(8, activation="relu", name="hidden"),
        layers.Dropout(0.5, name="dropout"),
        layers.Dense(3, activation="softmax", name="probabilities"),
    ]
    return settle(keras.Sequential(stack, name="dense"))


def dense_case(path: Path) -> Case:
    model = dense()
    model.save(path)
    example = answer(model, ["probabilities"], measures=floats(3, 4))
    return Case(path=path, examples=(example,), batchable=True)


def h5_sequential(folder: Path) -> Case:
    return dense_case(folder / "model.h5")


def hdf5_sequential(folder: Path) -> Case:
    return dense_case(folder / "model.hdf5")


def zip_sequential(folder: Path) -> Case:
    return dense_case(folder / "model.keras")


def h5_without_suffix(folder: Path) -> Case:
    case = dense_case(folder / "model.h5")
    return Case(path=case.path.rename(folder / "model"), examples=case.examples)


def h5_named_keras(folder: Path) -> Case:
    case = dense_case(folder / "model.h5")
    return Case(path=case.path.rename(folder / "model.keras"), examples=case.examples)


def zip_named_h5(folder: Path) -> Case:
    case = dense_case(folder / "model.keras")
    return Case(path=case.path.rename(folder / "model.h5"), examples=case.examples)


def h5_named_weights(folder: Path) -> Case:
    """A whole model, though its name says weights."""
    case = dense_case(folder / "model.h5")
    path = case.path.rename(folder / "weights.hdf5")
    return Case(path=path, examples=case.examples)


def h5_compiled(folder: Path) -> Case:
    """Saved with an optimizer, a loss and metrics."""
    model = dense()
    model.compile("adam", "categorical_crossentropy", ["accuracy"])
    model.save(folder / "model.h5")
    example = answer(model, ["probabilities"], measures=floats(3, 4))
    return Case(path=folder / "model.h5", examples=(example,), batchable=True)


def h5_two_in_two_out(folder: Path) -> Case:
    model = two_in_two_out()
    model.save(folder / "model.h5")
    examples = (two_in_two_out_example(model),)
    return Case(path=folder / "model.h5", examples=examples, batchable=True)


def zip_two_in_two_out(folder: Path) -> Case:
    model = two_in_two_out()
    model.save(folder / "model.keras")
    examples = (two_in_two_out_example(model),)
    return Case(path=folder / "model.keras", examples=examples, batchable=True)


def weights_with_json(folder: Path) -> Case:
    model = two_in_two_out()
    model.save_weights(folder / "model.weights.h5")
    (folder / "model.weights.h5").rename(folder / "model.h5")
    (folder / "model.json").write_text(model.to_json())
    examples = (two_in_two_out_example(model),)
    return Case(path=folder / "model.h5", examples=examples, batchable=True)


def export_two_in_two_out(folder: Path) -> Case:
    """A SavedModel whose every weight is written twice; keys from the structure."""
    model = two_in_two_out()
    path = folder / "model"
    model.export(path, verbose=False)
    example = two_in_two_out_example(model)
    outputs = dict(zip(("output_0", "output_1"), example.outputs.values(), strict=True))
    examples = (Example(inputs=example.inputs, outputs=outputs),)
    return Case(path=path, examples=examples, batchable=True)


def h5_conv_batch_norm(folder: Path) -> Case:
    image = keras.Input((8, 8, 3), name="image")
    hidden = layers.Conv2D(6, 3, use_bias=False, name="conv")(image)
    hidden = layers.BatchNormalization(name="norm")(hidden)
    hidden = layers.ReLU(name="relu")(hidden)
    hidden = layers.GlobalAveragePooling2D(name="pool")(hidden)
    hidden = layers.Dropout(0.5, name="dropout")(hidden)
    scores = layers.Dense(3, activation="softmax", name="scores")(hidden)
    model = settle(keras.Model(image, scores, name="conv_net"))
    model.save(folder / "model.h5")
    example = answer(model, ["scores"], image=floats(2, 8, 8, 3))
    return Case(path=folder / "model.h5", examples=(example,), batchable=True)


def text_case(path: Path, *, masked: bool) -> Case:
    """Of any length: only requests of one length may share a batch."""
    words = keras.Input((None,), dtype="int32", name="words")
    hidden = layers.Embedding(20, 5, mask_zero=masked, name="embedding")(words)
    hidden = layers.Bidirectional(layers.LSTM(4, name="lstm"), name="both")(hidden)
    mood = layers.Dense(1, activation="sigmoid", name="mood")(hidden)
    model = settle(keras.Model(words, mood, name="text"))
    model.save(path)
    long = np.array([[3, 1, 4, 1, 5, 0, 0], [9, 2, 6, 5, 3, 5, 8]], "int32")
    examples = tuple(answer(model, ["mood"], words=w) for w in (long, long[:, :4]))
    return Case(path=path, examples=examples, batchable=True)


def h5_embedding_lstm(folder: Path) -> Case:
    return text_case(folder / "model.h5", masked=False)


def h5_masked(folder: Path) -> Case:
    """Keras 3 writes the mask as a layer `NotEqual`, and can't read it unaided."""
    return text_case(folder / "model.h5", masked=True)


def zip_masked(folder: Path) -> Case:
    return text_case(folder / "model.keras", masked=True)


def h5_nested_outputs(folder: Path) -> Case:
    """Both outputs are made by models inside the model."""
    heads = [
        keras.Sequential([keras.Input((5,)), layers.Dense(n)], name=name)
        for name, n in (("small_head", 2), ("large_head", 7))
    ]
    features = keras.Input((4,), name="features")
    hidden = layers.Dense(5, activation="relu", name="trunk")(features)
    made = [head(hidden) for head in heads]
    model = settle(keras.Model(features, made, name="headed"))
    model.save(folder / "model.h5")
    example = answer(model, ["small_head", "large_head"], features=floats(2, 4))
    return Case(path=folder / "model.h5", examples=(example,), batchable=True)


def zip_dict_outputs(folder: Path) -> Case:
    signal = keras.Input((6,), name="signal")
    outputs = {n: layers.Dense(2, name=n)(signal) for n in ("zeta", "alpha")}
    model = settle(keras.Model({"signal": signal}, outputs, name="named"))
    model.save(folder / "model.keras")
    made = model({"signal": floats(3, 6)}, training=False)
    truth = {name: np.asarray(value) for name, value in made.items()}
    example = Example(inputs={"signal": floats(3, 6)}, outputs=truth)
    return Case(path=folder / "model.keras", examples=(example,), batchable=True)


def zip_string_lookup(folder: Path) -> Case:
    """A string input, a vocabulary in a table, and numbers normalised."""
    colour = keras.Input((1,), dtype="string", name="colour")
    size = keras.Input((2,), name="size")
    known = layers.StringLookup(vocabulary=["red", "green"], name="lookup")(colour)
    known = layers.Flatten(name="flat")(layers.Embedding(3, 4, name="table")(known))
    scale = layers.Normalization(mean=[1.0, 2.0], variance=[4.0, 9.0], name="scale")
    joined = layers.Concatenate(name="joined")([known, scale(size)])
    price = layers.Dense(1, name="price")(joined)
    model = settle(keras.Model([colour, size], price, name="priced"))
    model.save(folder / "model.keras")
    colours = np.array([[b"green"], [b"mauve"]], object)
    inputs = {"colour": colours, "size": floats(2, 2)}
    feed = [keras.ops.convert_to_tensor(value) for value in inputs.values()]
    made = model(feed, training=False)
    example = Example(inputs=inputs, outputs={"price": np.asarray(made)})
    return Case(path=folder / "model.keras", examples=(example,))


def zip_half_precision(folder: Path) -> Case:
    stack = [
        keras.Input((8,), name="signal"),
        layers.Dense(16, activation="gelu", dtype="mixed_float16", name="hidden"),
        layers.Dense(2, dtype="float32", name="levels"),
    ]
    model = settle(keras.Sequential(stack, name="half"))
    model.save(folder / "model.keras")
    example = answer(model, ["levels"], signal=floats(3, 8))
    return Case(path=folder / "model.keras", examples=(example,), tolerance=5e-3)


def zip_channels_first(folder: Path) -> Case:
    return channels_first_case(keras, folder / "model.keras")
