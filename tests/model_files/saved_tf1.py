"""SavedModels as TensorFlow 1 exports them: tables, main ops, several tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tests.model_files.cases import Case, Example

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from inference.types import Array

v1 = tf.compat.v1
WORDS = ("good", "bad", "plain")


def floats(*shape: int) -> Array:
    return np.random.default_rng(17).normal(size=shape).astype("float32")


def variable(name: str, *shape: int, resource: bool = False) -> Any:
    source = np.random.default_rng(list(name.encode()))
    start = v1.constant_initializer(source.normal(scale=0.4, size=shape))
    return v1.get_variable(name, shape, initializer=start, use_resource=resource)


def signature(
    inputs: Mapping[str, Any], outputs: Mapping[str, Any], method: str = "predict"
) -> Any:
    """Return a SignatureDef, with TensorFlow Serving's method name."""
    infos = [
        {key: v1.saved_model.build_tensor_info(value) for key, value in side.items()}
        for side in (inputs, outputs)
    ]
    return v1.saved_model.build_signature_def(*infos, f"tensorflow/serving/{method}")


def answer(
    session: Any, outputs: Mapping[str, Any], feed: Mapping[Any, Array], **words: Array
) -> Example:
    values = session.run(list(outputs.values()), dict(feed))
    made = dict(zip(outputs, values, strict=True))
    return Example(inputs=words, outputs=made)


def save(
    session: Any, path: Path, signatures: Mapping[str, Any], *, main_op: Any = None
) -> Path:
    builder = v1.saved_model.Builder(str(path))
    builder.add_meta_graph_and_variables(
        session,
        [tf.saved_model.SERVING],
        signature_def_map=dict(signatures),
        assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
        main_op=main_op,
    )
    builder.save()
    return path


def vocabulary(folder: Path) -> Any:
    """Return a table that a file in `assets/` fills when the main op runs."""
    file = folder / "words.txt"
    file.write_text("\n".join(WORDS))
    name = tf.constant(str(file))
    whole, line = (
        tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.lookup.TextFileIndex.LINE_NUMBER,
    )
    start = tf.lookup.TextFileInitializer(name, tf.string, whole, tf.int64, line)
    return tf.lookup.StaticVocabularyTable(start, num_oov_buckets=1)


def saved_tf1_estimator(folder: Path) -> Case:
    """An Estimator's export: a table, serialized Examples, four signatures."""
    with tf.Graph().as_default(), v1.Session() as session:
        serialized = v1.placeholder(tf.string, [None], name="input_example_tensor")
        features = {"word": tf.io.FixedLenFeature([], tf.string)}
        parsed = v1.parse_example(serialized, features)["word"]
        words = tf.identity(parsed, name="words")
        ids = vocabulary(folder).lookup(words)
        scores = tf.nn.softmax(tf.gather(variable("table", 4, 2), ids))
        labels = tf.constant([["down", "up"]])
        classes = tf.tile(labels, [tf.shape(scores)[0], 1])
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        outputs = {"scores": scores, "classes": classes}
        classify = signature({"inputs": serialized}, outputs, "classify")
        predict = signature({"words": words}, outputs)
        top = {"top": tf.reduce_max(scores, 1)}
        best = {"outputs": tf.reduce_max(scores, 1)}
        examples = estimator_examples(session, outputs, serialized, words, top)
        signatures = {
            "serving_default": classify,
            "predict": predict,
            "best": signature({"words": words}, top),
            "regress": signature({"inputs": serialized}, best, "regress"),
        }
        main_op = v1.tables_initializer()
        path = save(session, folder / "model", signatures, main_op=main_op)

    (folder / "words.txt").unlink()
    return Case(path=path, examples=examples)


def estimator_examples(
    session: Any, outputs: Mapping[str, Any], serialized: Any, words: Any, top: Any
) -> tuple[Example, ...]:
    said = np.array([b"bad", b"unheard", b"good"], object)
    packed = np.array([packed_example(word) for word in said], object)
    predicted = answer(session, outputs, {words: said}, words=said)
    best = answer(session, top, {words: said}, words=said)
    return (
        answer(session, outputs, {serialized: packed}, inputs=packed),
        Example(
            signature="predict", inputs=predicted.inputs, outputs=predicted.outputs
        ),
        Example(signature="best", inputs=best.inputs, outputs=best.outputs),
    )


def packed_example(word: bytes) -> bytes:
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[word]))
    features = tf.train.Features(feature={"word": feature})
    packed: bytes = tf.train.Example(features=features).SerializeToString()
    return packed


def saved_tf1_variables(folder: Path, *, resource: bool = False) -> Case:
    """Old reference variables (`VariableV2`), by `simple_save`."""
    with tf.Graph().as_default(), v1.Session() as session:
        rows = v1.placeholder(tf.float32, [None, 4], name="rows")
        kernel = variable("kernel", 4, 3, resource=resource)
        sums = tf.matmul(rows, kernel) + variable("bias", 3, resource=resource)
        session.run(v1.global_variables_initializer())
        outputs = {"y": sums, "y_again": sums}
        example = answer(session, outputs, {rows: floats(2, 4)}, x=floats(2, 4))
        path = folder / "model"
        v1.saved_model.simple_save(session, str(path), {"x": rows}, outputs)

    return Case(path=path, examples=(example,), batchable=True)


def saved_tf1_resources(folder: Path) -> Case:
    return saved_tf1_variables(folder, resource=True)


def saved_two_meta_graphs(folder: Path) -> Case:
    """A training graph first; the one to serve is the one tagged `serve`."""
    path = folder / "model"
    builder = v1.saved_model.Builder(str(path))
    with tf.Graph().as_default(), v1.Session() as session:
        affine(session, builder, [tf.saved_model.TRAINING], 100.0)
    with tf.Graph().as_default(), v1.Session() as session:
        affine(session, builder, [tf.saved_model.SERVING, tf.saved_model.GPU], 10.0)
    with tf.Graph().as_default(), v1.Session() as session:
        example = affine(session, builder, [tf.saved_model.SERVING], 1.0)

    builder.save()
    return Case(path=path, examples=(example,), batchable=True)


def affine(session: Any, builder: Any, tags: list[str], offset: float) -> Example:
    """Add a meta graph that multiplies by a variable and adds `offset`."""
    rows = v1.placeholder(tf.float32, [None, 4], name="rows")
    made = {"y": rows * variable("gain", 4) + offset}
    session.run(v1.global_variables_initializer())
    keys = {"serving_default": signature({"x": rows}, made)}
    if tf.saved_model.TRAINING in tags:
        builder.add_meta_graph_and_variables(session, tags, signature_def_map=keys)
    else:
        builder.add_meta_graph(tags, signature_def_map=keys)

    return answer(session, made, {rows: floats(2, 4)}, x=floats(2, 4))
