"""One version: its states, and what it makes of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
import pytest

from inference.batcher import Batcher
from inference.batching import Batching
from inference.errors import (
    DeadlineExceeded,
    InputMismatch,
    LoadFailed,
    ModelLoading,
    Overloaded,
    Unavailable,
    UnknownSignature,
)
from inference.limits import Limits
from inference.types import Load, ModelState
from tests.inference.echo import (
    ID,
    Held,
    available,
    collect,
    echo,
    loaded,
    new,
    request,
)
from tests.inference.graphs import compile_graph

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inference.artifact import Artifact
    from inference.types import PredictResult


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return compile_graph(tmp_path_factory.mktemp("echo"), echo)


@pytest.fixture
def servable(artifact: Artifact) -> Iterator[Held]:
    with Held(artifact) as servable:
        yield servable


async def test_states_on_the_way_to_available(tmp_path: Path, servable: Held) -> None:
    model, states = new(tmp_path)
    assert (model.status().state, model.settled) == (ModelState.START, False)

    model.begin("reading")
    assert (model.status().stage, model.settled) == ("reading", False)

    for refuse in (model.admit, lambda: model.predict(request()).send(None)):
        with pytest.raises(ModelLoading, match=r"'echo' is still loading \(reading\)"):
            refuse()

    model.succeed(loaded(servable), Batcher(loaded(servable)))
    model.admit()
    status = model.status()
    assert (status.state, status.stage, status.error) == ("AVAILABLE", "", None)
    assert status.format == "frozen graph"
    assert status.default_signature == "serving_default"
    assert list(status.signatures) == ["serving_default"]
    assert (status.concurrency, status.load_seconds) == (2, 0.5)
    assert status.load == Load()
    assert model.settled

    model.close()
    assert model.status().state is ModelState.END
    assert model.status().signatures == {}
    model.close()
    assert states == ["LOADING", "AVAILABLE"]


async def test_states_on_the_way_to_failed(tmp_path: Path) -> None:
    model, states = new(tmp_path)
    model.begin("reading")
    model.fail("the file is cut")

    status = model.status()
    assert (status.state, status.error) == (ModelState.END, "the file is cut")
    assert model.settled

    for refuse in (model.admit, lambda: model.predict(request()).send(None)):
        with pytest.raises(LoadFailed, match="'echo' could not be loaded: the file is"):
            refuse()

    model.close()
    assert states == ["LOADING", "END"]


async def test_a_call_before_loading_began(tmp_path: Path) -> None:
    model, _ = new(tmp_path)

    with pytest.raises(ModelLoading, match="still loading; ask again"):
        await model.predict(request())


async def test_a_call_while_it_is_unloaded(tmp_path: Path, servable: Held) -> None:
    async with available(tmp_path, servable) as model:
        pass

    with pytest.raises(Unavailable, match="being unloaded"):
        await model.predict(request())


async def test_a_result_says_what_was_asked(tmp_path: Path, servable: Held) -> None:
    servable.gate.let_through()

    async with available(tmp_path, servable) as model:
        result = await model.predict(request(3.0))
        chosen = await model.predict(request(3.0, outputs=("plus",)))

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
            "no signature 'other'; it has: serv",
        ),
        ({"outputs": ("plus", "times")}, UnknownSignature, "no output 'times'; it has"),
        ({"inputs": {"y": [[1, 2]]}}, InputMismatch, "does not have named input: 'y'"),
        ({"inputs": {"x": [[1, 2, 3]]}}, InputMismatch, r"wants shape \[\?, 2\]"),
    ],
)
async def test_a_wrong_request_never_reaches_a_thread(
    tmp_path: Path,
    servable: Held,
    choices: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    async with available(tmp_path, servable) as model:
        with pytest.raises(error, match=words):
            await model.predict(request(**choices))

    assert servable.gate.began == 0


@pytest.mark.parametrize("concurrency", [1, 2, 5])
async def test_no_more_calls_at_a_time_than_are_allowed(
    tmp_path: Path, servable: Held, concurrency: int
) -> None:
    limits = Limits(concurrency=concurrency, batching=Batching(max_rows=1))
    done: list[PredictResult] = []

    async with available(tmp_path, servable, limits) as model:
        async with anyio.create_task_group() as tasks:
            for number in range(12):
                tasks.start_soon(collect, model, number, done)

            await servable.gate.until_ran(concurrency)
            await anyio.wait_all_tasks_blocked()
            assert model.status().load == Load(
                running=concurrency, waiting=12 - concurrency, tokens=concurrency
            )
            servable.gate.let_through(12)

    assert servable.gate.most == concurrency
    answers = sorted(result.outputs["plus"][0, 0] for result in done)
    np.testing.assert_array_equal(answers, np.arange(12) + 1.0)


async def test_requests_that_wait_run_as_one(tmp_path: Path, servable: Held) -> None:
    """Through TensorFlow: each gets its own rows of what was run together."""
    done: list[PredictResult] = []

    async with available(tmp_path, servable, Limits(concurrency=1)) as model:
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
async def test_a_request_gets_no_more_time_than_its_model_has(
    tmp_path: Path, servable: Held, asked: float | None
) -> None:
    limits = Limits(concurrency=1, timeout_seconds=0.05)

    async with available(tmp_path, servable, limits) as model:
        with pytest.raises(DeadlineExceeded, match=r"time of 0.05 s is over"):
            await model.predict(request(timeout=asked))


async def test_a_request_may_ask_for_less_time(tmp_path: Path, servable: Held) -> None:
    async with available(tmp_path, servable, Limits(timeout_seconds=3600)) as model:
        with pytest.raises(DeadlineExceeded, match=r"time of 0.05 s is over"):
            await model.predict(request(timeout=0.05))


async def test_a_full_queue_is_known_before_a_body_is_read(
    tmp_path: Path, servable: Held
) -> None:
    done: list[PredictResult] = []

    async with available(
        tmp_path, servable, Limits(concurrency=1, max_queue=1)
    ) as model:
        async with anyio.create_task_group() as tasks:
            for number in range(2):
                model.admit()
                tasks.start_soon(collect, model, number, done)
                await servable.gate.until_ran(1)
                await anyio.wait_all_tasks_blocked()

            with pytest.raises(Overloaded):
                model.admit()

            with pytest.raises(Overloaded):
                await model.predict(request())

            servable.gate.let_through(2)

        model.admit()

    assert len(done) == 2
