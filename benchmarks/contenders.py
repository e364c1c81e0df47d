"""Ways to call one model; each runs in a child process and times its own calls."""

from __future__ import annotations

import statistics
import time
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from benchmarks.models import rows_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from inference.types import Array

    Call = Callable[[Array], Array]

LEAST_CALLS = 3


def time_predict(path: Path, rows: int, seconds: float, threads: int) -> float:
    """Seconds a call of `model.predict` takes: the median over `seconds`."""
    model = _keras_model(path, threads)
    return _median(partial(model.predict, verbose=0), _keras_rows(model, rows), seconds)


def time_model(path: Path, rows: int, seconds: float, threads: int) -> float:
    """The same for `model(x)`."""
    model = _keras_model(path, threads)
    return _median(
        lambda array: model(array).numpy(), _keras_rows(model, rows), seconds
    )


def time_traced(path: Path, rows: int, seconds: float, threads: int) -> float:
    """The same for `tf.function(model)`, traced before the clock runs."""
    model = _keras_model(path, threads)
    function = _traced(path, threads)
    return _median(
        lambda array: function(array).numpy(), _keras_rows(model, rows), seconds
    )


def time_concrete(path: Path, rows: int, seconds: float, threads: int) -> float:
    """The same for its concrete function, called with a tensor made beforehand."""
    import tensorflow as tf

    model = _keras_model(path, threads)
    shape = (None, *model.inputs[0].shape[1:])
    function = _traced(path, threads).get_concrete_function(
        tf.TensorSpec(shape, tf.float32)
    )
    tensor = tf.constant(_keras_rows(model, rows))
    return _median(lambda given: function(given).numpy(), tensor, seconds)


def time_servable(folder: Path, rows: int, seconds: float, threads: int) -> float:
    """The same for our runtime over the artifact in `folder`."""
    servable = _servable(folder, threads)
    signature = servable.signatures[servable.manifest.default_signature]
    [(name, spec)] = signature.inputs.items()
    [output] = signature.outputs

    def call(array: Array) -> Array:
        answer: Array = servable.run(signature.name, {name: array})[output]
        return answer

    return _median(call, rows_for(spec.shape[1:], rows), seconds)


def answer_traced(path: Path, rows: int, threads: int) -> Array:
    """What the traced function answers to the rows that are timed."""
    model = _keras_model(path, threads)
    answer: Array = _traced(path, threads)(_keras_rows(model, rows)).numpy()
    return answer


def answer_servable(folder: Path, rows: int, threads: int) -> Array:
    """What our runtime answers to the same."""
    servable = _servable(folder, threads)
    signature = servable.signatures[servable.manifest.default_signature]
    [(name, spec)] = signature.inputs.items()
    answers = servable.run(signature.name, {name: rows_for(spec.shape[1:], rows)})
    answer: Array
    [answer] = answers.values()
    return answer


def _median(call: Call, array: Array, seconds: float) -> float:
    call(array)
    call(array)
    taken: list[float] = []
    end = time.perf_counter() + seconds

    while len(taken) < LEAST_CALLS or time.perf_counter() < end:
        started = time.perf_counter()
        call(array)
        taken.append(time.perf_counter() - started)

    return statistics.median(taken)


@cache
def _keras_model(path: Path, threads: int) -> Any:
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    return keras.models.load_model(path, compile=False)


@cache
def _traced(path: Path, threads: int) -> Any:
    import tensorflow as tf

    return tf.function(_keras_model(path, threads))


def _keras_rows(model: Any, rows: int) -> Array:
    return rows_for(model.inputs[0].shape[1:], rows)


@cache
def _servable(folder: Path, threads: int) -> Any:
    from inference.artifacts.artifact import Artifact
    from inference.runtime.servable import Servable, Threads

    return Servable(Artifact(folder), threads=Threads(intra_op=threads))
