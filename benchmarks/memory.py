"""Seconds and bytes of loading large models: alone, shared, with weights in common.

A dense layer of 100 MB as `.h5`, `.pb` and SavedModel. Seconds are from the start of
loading to the first answer, in fresh processes that have TensorFlow imported and the
files in the page cache, the median of three rounds. Anonymous memory has no file behind
it. `PSS` counts a page that two processes share as half in each.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.harness import models
from benchmarks.harness.children import child
from benchmarks.harness.clocks import alternate
from benchmarks.harness.memory import MB, Memory, mapped_memory, process_memory
from benchmarks.harness.report import Report, Table, at_most
from benchmarks.harness.run import say
from inference import available_cpus
from inference.artifacts.artifact import Artifact
from inference.artifacts.weights import memory_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.harness.report import Figure
    from benchmarks.harness.run import Run
    from inference.types import Array

    Row = tuple[str | float, ...]
    Section = tuple[list[Figure], Table]

RUNTIME = "inference.runtime.servable"
KERAS, GRAPH, SAVED = "keras.models.load_model", "import_graph_def", "saved_model.load"
OF_KERAS, OF_GRAPH = 0.5, 0.2
PRIVATE, LEFT, SHARED, REPEATED = 0.15, 0.05, 1.05, 1.02
UNITS = 5000
"""Width of the large layer: 100 MB."""
WEIGHTS = UNITS * (UNITS + 1) * 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Seconds to the first answer, the memory before and after, and the answer."""

    seconds: float
    before: Memory
    after: Memory
    answer: Array


def measure(run: Run) -> Report:
    """Compare the cost of loading, holding and sharing large models."""
    with child() as writer:
        files = writer.call(models.write_large, run.folder, UNITS)

    artifacts = models.compile_models(files, run.folder / "cache")
    found = [
        _seconds(files, artifacts, 1 if run.quick else 3),
        _held(artifacts),
        _shared(artifacts),
        _repeated(run.folder),
    ]
    return Report(
        title="Memory",
        figures=[figure for figures, _ in found for figure in figures],
        tables=[table for _, table in found],
    )


def _seconds(
    files: dict[str, Path], artifacts: dict[str, Path], rounds: int
) -> Section:
    loads = {
        **{form: (RUNTIME, load_ours, path) for form, path in artifacts.items()},
        KERAS: ("keras", load_keras, files[".h5"]),
        GRAPH: ("tensorflow", load_graph, files[".pb"]),
        SAVED: ("tensorflow", load_saved_model, files["SavedModel"]),
    }
    ways = {name: partial(_load_fresh, name, *load) for name, load in loads.items()}
    found = alternate(ways, rounds)
    _check_answers(found)
    rows = [_row(name, each) for name, each in found.items()]
    seconds = {
        name: statistics.median(load.seconds for load in each)
        for name, each in found.items()
    }
    figures = [
        at_most(
            limit,
            f"{form}, load seconds over {other}'s",
            seconds[form] / seconds[other],
        )
        for form in artifacts
        for other, limit in ((KERAS, OF_KERAS), (GRAPH, OF_GRAPH))
    ]
    return figures, Table(
        title="Loading, each in a fresh process; ours by its source",
        columns=("load and first answer", "s", "lowest", "anonymous MB", "RSS MB"),
        rows=rows,
    )


def _load_fresh(
    name: str, module: str, load: Callable[[Path], tuple[Array, Any]], path: Path
) -> Load:
    with child() as process:
        process.call(prepare, module)

        # Into the page cache.
        for file in filter(Path.is_file, [path, *path.rglob("*")]):
            file.read_bytes()

        found = process.call(timed, load, path)

    say(f"{name}: {found.seconds:.3f} s")
    return found


def _check_answers(loads: dict[str, list[Load]]) -> None:
    answers = [load.answer for found in loads.values() for load in found]

    for answer in answers:
        np.testing.assert_allclose(answer, answers[0], rtol=1e-4, atol=1e-5)


def _row(name: str, loads: list[Load]) -> Row:
    seconds = [load.seconds for load in loads]
    anonymous = [load.after.anonymous - load.before.anonymous for load in loads]
    resident = [load.after.resident - load.before.resident for load in loads]
    return (
        *(name, statistics.median(seconds), min(seconds)),
        *(statistics.median(each) / MB for each in (anonymous, resident)),
    )


def _held(artifacts: dict[str, Path]) -> Section:
    """Load and unload each artifact in a process of its own."""
    figures: list[Figure] = []
    rows: list[Row] = []

    for form, folder in artifacts.items():
        with child() as process:
            process.call(prepare, RUNTIME)
            load = process.call(timed, load_ours, folder)
            closed = process.call(close_ours, folder)
            mapped = process.call(mapped_memory, *weight_files(folder))

        levels = [each.anonymous for each in (load.before, load.after, closed)]
        grown, left = levels[1] - levels[0], levels[2] - levels[0]
        rows.append((form, *(each / MB for each in levels)))
        figures += [
            at_most(PRIVATE, f"{form}, private memory of the weights", grown / WEIGHTS),
            at_most(LEFT, f"{form}, left after unload", abs(left) / WEIGHTS),
            at_most(0.0, f"{form}, mapped after unload", mapped.resident),
        ]

    return figures, Table(
        title="Our runtime, first model of its process",
        columns=("anonymous MB", "before", "loaded", "unloaded"),
        rows=rows,
    )


def _shared(artifacts: dict[str, Path]) -> Section:
    """Map each artifact's weights in two processes at once."""
    figures: list[Figure] = []
    rows: list[Row] = []

    for form, folder in artifacts.items():
        with child() as one, child() as other:
            for process in (one, other):
                process.call(prepare, RUNTIME)
                process.call(load_ours, folder)

            files = weight_files(folder)
            mapped = [each.call(mapped_memory, *files) for each in (one, other)]

        total = sum(each.proportional for each in mapped)
        rows.append((form, *(each.resident / MB for each in mapped), total / MB))
        figures.append(
            at_most(SHARED, f"{form}, weights in two processes", total / WEIGHTS)
        )

    return figures, Table(
        title="Two processes that serve it at once",
        columns=("mapping of the weights, MB", "RSS, one", "RSS, other", "PSS, sum"),
        rows=rows,
    )


def _repeated(folder: Path) -> Section:
    """Compare repeated weights' bytes, on disk and mapped, to the distinct ones."""
    with child() as writer:
        found = writer.call(models.write_repeated, folder)

    figures: list[Figure] = []
    rows: list[Row] = []

    for name, each in found.items():
        cache = folder / f"cache-{len(rows)}"
        artifacts = list(models.compile_models(each.paths, cache).values())
        disk, mapped = _disk_bytes(cache), _mapped_bytes(artifacts)
        sizes = (each.distinct, each.times * each.distinct, disk, mapped)
        rows.append((name, *(size / MB for size in sizes)))
        figures += [
            at_most(
                REPEATED, f"{name}, bytes on disk over distinct", disk / each.distinct
            ),
            at_most(REPEATED, f"{name}, mapped over distinct", mapped / each.distinct),
        ]

    return figures, Table(
        title="Weights are stored once",
        columns=("weights that repeat, MB", "distinct", "uses", "on disk", "mapped"),
        rows=rows,
    )


def _disk_bytes(folder: Path) -> int:
    """Sum all files, graphs too; one with several links counts once."""
    found = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum({each.st_ino: each.st_size for each in found}.values())


def _mapped_bytes(folders: list[Path]) -> int:
    """Return the weights' share of a process that has loaded and asked all."""
    with child() as process:
        process.call(prepare, RUNTIME)

        for folder in folders:
            process.call(load_ours, folder)

        files = {path for folder in folders for path in weight_files(folder)}
        return process.call(mapped_memory, *sorted(files)).proportional


def weight_files(folder: Path) -> list[Path]:
    """List the memory files of an artifact's weights, as the kernel names them."""
    weights = Artifact(folder).read_manifest().weights
    return [Path(f"/memfd:tandem-{name} (deleted)") for name in memory_names(weights)]


def prepare(module: str) -> None:
    """Import a module here; one can't travel between processes."""
    import_module(module)


def timed(load: Callable[[Path], tuple[Array, Any]], path: Path) -> Load:
    """Time `load`, which returns an answer and the model, still loaded."""
    before = process_memory()
    started = time.perf_counter()
    answer, _model = load(path)
    seconds = time.perf_counter() - started
    return Load(seconds=seconds, before=before, after=process_memory(), answer=answer)


def load_ours(folder: Path) -> tuple[Array, Any]:
    """Load an artifact in our runtime; it stays open for `close_ours`."""
    return models.servable_call(folder, available_cpus(), 1)(), None


def close_ours(folder: Path) -> Memory:
    """Close the model that `load_ours` opened; return the memory afterwards."""
    models.servable(folder, available_cpus()).close()
    models.servable.cache_clear()
    return process_memory()


def load_keras(path: Path) -> tuple[Array, Any]:
    """Load a `.h5` with Keras and call the model."""
    import keras

    model = keras.models.load_model(path, compile=False)
    return model(models.rows_for(model.inputs[0].shape[1:], 1)).numpy(), model


def load_graph(path: Path) -> tuple[Array, Any]:
    """Parse a frozen graph, import it, and run it in a session."""
    session = models.graph_session(path)
    given = session.graph.get_tensor_by_name("values:0")
    rows = models.rows_for(given.shape[1:], 1)
    return session.run("Identity:0", {given: rows}), session


def load_saved_model(path: Path) -> tuple[Array, Any]:
    """Load a SavedModel and call its default signature."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures["serving_default"]
    [(name, spec)] = signature.structured_input_signature[1].items()
    given = tf.constant(models.rows_for(spec.shape[1:], 1))
    [answer] = signature(**{name: given}).values()
    return answer.numpy(), loaded
