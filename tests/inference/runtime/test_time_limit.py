"""Runs past their time limit, or without an end."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from inference.backend import tf, tf1
from inference.errors import DeadlineExceeded
from inference.runtime.servable import Servable, Threads
from tests.support.graphs import compile_graph, floats, old_control_flow, rows

if TYPE_CHECKING:
    from pathlib import Path

    from inference.artifacts.artifact import Artifact
    from inference.types import Array

X = floats(2, 4)
FOREVER = 2**62


def turns() -> None:
    """A loop of so many turns, by default one."""
    x = rows("x", 4)
    count = tf1.placeholder_with_default(np.int64(1), [], name="turns")
    first = [tf.constant(0, tf.int64), x]
    _, y = tf.while_loop(
        lambda turn, _: turn < count, lambda turn, y: (turn + 1, y + 1.0), first
    )
    tf.identity(y, name="y")


def waiting() -> None:
    """An operation that searches in vain among so many elements."""
    x = rows("x", 4)
    size = tf1.placeholder_with_default(np.int64(0), [], name="turns")
    numbers = tf.data.Dataset.range(size).filter(lambda each: each < 0)
    count = numbers.reduce(np.int64(0), lambda total, _: total + 1)
    tf.add(x + 1.0, tf.cast(count, "float32"), name="y")


def straight() -> None:
    """A product of large matrices, without loops or waits."""
    x = rows("x", 4)
    size = tf1.placeholder_with_default(np.int64(1), [], name="turns")
    ones = tf.fill([size, size], tf.reduce_max(x) * 0.0)
    tf.add(x + 1.0, tf.reduce_sum(ones @ ones), name="y")


def old_turns() -> None:
    with old_control_flow():
        turns()


def counted() -> None:
    """TensorFlow's `For`, which Python code doesn't create: it counts in 32 bits."""
    x = rows("x", 4)
    count = tf1.placeholder_with_default(np.int64(1), [], name="turns")
    spec = tf.TensorSpec([None, 4], tf.float32)
    step = tf.function(lambda _, y: y + 1.0, [tf.TensorSpec([], tf.int32), spec])
    body = step.get_concrete_function()
    body.add_to_graph()
    limit = tf.cast(tf.minimum(count, 2**31 - 1), tf.int32)
    [y] = tf.raw_ops.For(start=0, limit=limit, delta=1, input=[x], body=body)
    tf.identity(y, name="y")


DATA_SETS = ("RangeDataset", "FilterDataset", "ReduceDataset")
BUILDS = {"loop": turns, "for": counted, "old loop": old_turns, "data set": waiting}


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return compile_graph(tmp_path_factory.mktemp("loop"), turns)


def call(servable: Servable, turns: int | None = None) -> Array:
    """Return the answer to `X` after so many turns; `None` leaves them to the graph."""
    sent = {} if turns is None else {"turns": np.array(turns)}
    return servable.run("serving_default", {"x": X, **sent})["y"]


@pytest.mark.parametrize("name", BUILDS)
def test_endless_run_is_ended_and_breaks_nothing(tmp_path: Path, name: str) -> None:
    """Ending a run waits for its operations: none goes on afterwards."""
    artifact = compile_graph(tmp_path, BUILDS[name], allow_ops=DATA_SETS)

    with Servable(artifact, time_limit=0.3) as servable:
        usual = call(servable)

        for _ in range(2):
            with pytest.raises(DeadlineExceeded) as caught:
                call(servable, FOREVER)

            assert str(caught.value) == "The model ran longer than 0.3 s."
            np.testing.assert_array_equal(call(servable), usual)

        # This thread sleeps, so the processor's time would be the run's.
        used = time.process_time()
        time.sleep(0.3)
        assert time.process_time() - used < 0.15


def test_the_limit_is_each_runs_own(loop: Artifact) -> None:
    """Runs beside a stuck one have their own thread, and answer before it ends."""
    with (
        Servable(loop, threads=Threads(calls=2), time_limit=5.0) as servable,
        ThreadPoolExecutor(1) as pool,
    ):
        stuck = pool.submit(call, servable, FOREVER)

        for turn in range(50):
            np.testing.assert_allclose(call(servable, turn), X + turn, rtol=1e-5)

        assert not stuck.done()

        with pytest.raises(DeadlineExceeded):
            stuck.result()


def test_a_run_within_the_limit(loop: Artifact) -> None:
    with Servable(loop, time_limit=30.0) as servable:
        np.testing.assert_allclose(call(servable, 1000), X + 1000, rtol=1e-3)


def test_a_limit_below_a_millisecond_is_one(loop: Artifact) -> None:
    with (
        Servable(loop, time_limit=1e-6) as servable,
        pytest.raises(DeadlineExceeded, match=r"longer than 1e-06 s"),
    ):
        call(servable, FOREVER)


def test_straight_graph_is_not_interrupted(tmp_path: Path) -> None:
    with Servable(compile_graph(tmp_path, straight), time_limit=1e-3) as servable:
        started = time.perf_counter()
        np.testing.assert_array_equal(call(servable, 1000), X + 1)

    assert time.perf_counter() - started > 1e-3
