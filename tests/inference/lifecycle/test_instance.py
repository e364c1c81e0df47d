"""A version in memory: requests, leases, and its end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
import pytest

from inference.errors import (
    DeadlineExceeded,
    InputMismatch,
    Overloaded,
    UnknownSignature,
)
from inference.lifecycle.instance import Instance
from inference.limits import Batching, Limits
from inference.types import QueueStats
from tests.support.echo import ID, Held, ask, available, collect, echo, loaded
from tests.support.echo import serve as serving
from tests.support.graphs import compile_graph

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inference.artifacts.artifact import Artifact
    from inference.types import PredictResult


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return compile_graph(tmp_path_factory.mktemp("echo"), echo)


@pytest.fixture
def servable(artifact: Artifact) -> Iterator[Held]:
    with Held(artifact) as servable:
        yield servable


async def test_result_names_model_and_signature(servable: Held) -> None:
    servable.gate.let_through()

    async with available(servable) as model:
        result = await ask(model, 3.0)
        chosen = await ask(model, 3.0, outputs=("plus",))

    assert result.model == ID
    assert result.signature.name == "serving_default"
    assert {name: value.tolist() for name, value in result.outputs.items()} == {
        "minus": [[-3.0, -3.0]],
        "plus": [[4.0, 4.0]],
    }
    assert list(chosen.outputs) == ["plus"]


@pytest.mark.parametrize(
    ("choices", "error", "words"),
    [
        (
            {"signature": "other"},
            UnknownSignature,
            'name: "other" not found in signature def of Version 3 of .*; it has: serv',
        ),
        ({"outputs": ("plus", "times")}, UnknownSignature, "no output 'times'; it has"),
        ({"inputs": {"y": [[1, 2]]}}, InputMismatch, "does not have named input: y"),
        ({"inputs": {"x": [[1, 2, 3]]}}, InputMismatch, r"wants shape \[\?, 2\]"),
    ],
)
async def test_invalid_request_never_reaches_a_thread(
    servable: Held,
    choices: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    async with available(servable) as model:
        with pytest.raises(error, match=words):
            await ask(model, **choices)

    assert servable.gate.began == 0


@pytest.mark.parametrize("concurrency", [1, 2, 5])
async def test_concurrency_is_bounded(servable: Held, concurrency: int) -> None:
    limits = Limits(concurrency=concurrency, batching=Batching(max_rows=1))
    done: list[PredictResult] = []

    async with available(servable, limits) as model:
        async with anyio.create_task_group() as tasks:
            for number in range(12):
                tasks.start_soon(collect, model, number, done)

            await servable.gate.until_ran(concurrency)
            await anyio.wait_all_tasks_blocked()
            assert model.status().queue == QueueStats(
                running=concurrency, waiting=12 - concurrency, tokens=concurrency
            )
            servable.gate.let_through(12)

    assert servable.gate.most == concurrency
    answers = sorted(result.outputs["plus"][0, 0] for result in done)
    np.testing.assert_array_equal(answers, np.arange(12) + 1.0)


async def test_waiting_requests_run_as_one_batch(servable: Held) -> None:
    """Through TensorFlow: each request gets its own rows of the batch."""
    done: list[PredictResult] = []

    async with available(servable, Limits(concurrency=1)) as model:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(collect, model, 0, done)
            await servable.gate.until_ran(1)

            for number in range(1, 9):
                tasks.start_soon(collect, model, number, done)

            await anyio.wait_all_tasks_blocked()
            servable.gate.let_through(2)

    assert servable.gate.began == 2
    assert [result.outputs["minus"].tolist() for result in done] == [
        [[-number, -number]] for number in range(9)
    ]


@pytest.mark.parametrize("asked", [None, 3600.0], ids=["the model's", "more than it"])
async def test_request_timeout_is_capped_by_the_model(
    servable: Held, asked: float | None
) -> None:
    limits = Limits(concurrency=1, timeout_seconds=0.05)

    async with available(servable, limits) as model:
        with pytest.raises(DeadlineExceeded, match=r"time of 0.05 s is over"):
            await ask(model, timeout=asked)


async def test_a_request_may_ask_for_less_time(servable: Held) -> None:
    async with available(servable, Limits(timeout_seconds=3600)) as model:
        with pytest.raises(DeadlineExceeded, match=r"time of 0.05 s is over"):
            await ask(model, timeout=0.05)


async def test_full_queue_is_known_before_a_body_is_read(servable: Held) -> None:
    done: list[PredictResult] = []

    async with available(servable, Limits(concurrency=1, max_queue=1)) as model:
        async with anyio.create_task_group() as tasks:
            for number in range(2):
                model.admit()
                tasks.start_soon(collect, model, number, done)
                await servable.gate.until_ran(1)
                await anyio.wait_all_tasks_blocked()

            with pytest.raises(Overloaded):
                model.admit()

            with pytest.raises(Overloaded):
                await ask(model)

            servable.gate.let_through(2)

        model.admit()

    assert len(done) == 2


async def test_end_waits_for_the_last_lease(servable: Held) -> None:
    """Nothing is closed while it is leased; each release is notified once."""
    released: list[None] = []
    instance = Instance(
        loaded(servable), version=1, released=lambda: released.append(None)
    )
    ended = anyio.Event()

    async def end() -> None:
        await instance.end()
        ended.set()

    async with anyio.create_task_group() as tasks:
        await tasks.start(serving, instance)

        with instance, instance:
            tasks.start_soon(end)
            await anyio.wait_all_tasks_blocked()

            with instance:
                assert not (instance.idle or ended.is_set())

            assert released == []

        assert (instance.idle, released) == (True, [None])
        assert servable._session is not None
        await ended.wait()
        assert servable._session is None


async def test_end_waits_for_orphaned_threads(servable: Held) -> None:
    limits = Limits(concurrency=1, timeout_seconds=0.05)

    async with available(servable, limits) as model:
        instance = model.instance
        assert instance is not None

        with pytest.raises(DeadlineExceeded):
            await ask(model)

        async with anyio.create_task_group() as tasks:
            await servable.gate.until_ran(1)
            assert (instance.idle, model.status().queue.orphans) == (True, 1)
            tasks.start_soon(instance.end)
            await anyio.wait_all_tasks_blocked()
            assert servable._session is not None
            servable.gate.let_through()

        assert servable._session is None


async def test_last_used_is_the_time_of_the_last_request(servable: Held) -> None:
    servable.gate.let_through()

    async with available(servable) as model:
        instance = model.instance
        assert instance is not None
        made = instance.last_used
        assert (instance.used, model.status().last_used) == (False, None)

        await ask(model)
        assert instance.used
        assert instance.last_used > made
        used = model.status().last_used
        assert used is not None
        assert abs(used - time.time()) < 3600

        model.uninstall()
        later = model.status().last_used
        assert later is not None
        assert abs(later - used) < 1
