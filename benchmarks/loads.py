"""Ways to load one large model up to its first answer; each runs in a child process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.memory_probe import Memory, mapped_memory, process_memory
from benchmarks.models import rows_for

if TYPE_CHECKING:
    from inference.types import Array

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Seconds to the first answer, the memory before and after, and the answer."""

    seconds: float
    before: Memory
    after: Memory
    answer: Array


def warm(path: Path) -> None:
    """Read the file, or all in the folder, into the page cache."""
    found = path.rglob("*") if path.is_dir() else [path]

    for file in filter(Path.is_file, found):
        with file.open("rb") as stream:
            while stream.read(CHUNK):
                pass


def prepare(module: str) -> None:
    """Import what a load needs; a module itself can't travel between processes."""
    import_module(module)


def load_servable(folder: Path) -> Load:
    """Our runtime over the artifact in `folder`; it stays open for `close_servable`."""
    before = process_memory()
    started = time.perf_counter()
    servable = _servable(folder)
    answer = _answer(servable)
    seconds = time.perf_counter() - started
    return _load(seconds, before, answer)


def mapped_weights(folder: Path) -> Memory:
    """The mappings of the artifact's weights in this process."""
    from inference.artifacts.artifact import Artifact
    from inference.artifacts.weight_files import file_lengths

    weights = Artifact(folder).read_manifest().weights
    return mapped_memory(*(folder / name for name in file_lengths(weights)))


def mapped_files(files: list[Path]) -> Memory:
    """The mappings of `files` in this process."""
    return mapped_memory(*files)


def close_servable(folder: Path) -> Memory:
    """Close what `load_servable` opened; the memory afterwards."""
    _servable(folder).close()
    _servable.cache_clear()
    return process_memory()


def load_keras(path: Path) -> Load:
    """`keras.models.load_model` and a call of the model."""
    import keras

    before = process_memory()
    started = time.perf_counter()
    model = keras.models.load_model(path, compile=False)
    answer = model(rows_for(model.inputs[0].shape[1:], 1)).numpy()
    return _load(time.perf_counter() - started, before, answer)


def load_graph(path: Path) -> Load:
    """The frozen graph parsed, imported, and run in a session."""
    import tensorflow as tf

    before = process_memory()
    started = time.perf_counter()
    graph_def = tf.compat.v1.GraphDef.FromString(path.read_bytes())

    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
        tf.graph_util.import_graph_def(graph_def, name="")
        given = graph.get_tensor_by_name("values:0")
        rows = rows_for(given.shape[1:], 1)
        answer = session.run("Identity:0", {given: rows})
        return _load(time.perf_counter() - started, before, answer)


def load_saved_model(path: Path) -> Load:
    """`tf.saved_model.load` and a call of its default signature."""
    import tensorflow as tf

    before = process_memory()
    started = time.perf_counter()
    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures["serving_default"]
    [(name, spec)] = signature.structured_input_signature[1].items()
    [answer] = signature(**{name: tf.constant(rows_for(spec.shape[1:], 1))}).values()
    return _load(time.perf_counter() - started, before, answer.numpy())


def _load(seconds: float, before: Memory, answer: Array) -> Load:
    return Load(seconds=seconds, before=before, after=process_memory(), answer=answer)


def _answer(servable: Any) -> Array:
    signature = servable.signatures[servable.manifest.default_signature]
    [(name, spec)] = signature.inputs.items()
    answers = servable.run(signature.name, {name: rows_for(spec.shape[1:], 1)})
    answer: Array
    [answer] = answers.values()
    return answer


@cache
def _servable(folder: Path) -> Any:
    from inference import available_cpus
    from inference.artifacts.artifact import Artifact
    from inference.runtime.servable import Servable, Threads

    return Servable(Artifact(folder), threads=Threads(intra_op=available_cpus()))
