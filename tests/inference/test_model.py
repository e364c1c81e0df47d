"""One version: its states, and how many calls it runs at a time."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread
import numpy as np
import pytest

from inference.backend import tf
from inference.errors import (
    InputMismatch,
    LoadFailed,
    ModelLoading,
    UnknownSignature,
)
from inference.model import Model
from inference.repository import ModelFiles
from inference.runtime import Servable
from inference.types import (
    UNNAMED,
    ModelId,
    ModelSpec,
    ModelState,
    PredictRequest,
)
from tests.inference.graphs import compile_graph, rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inference.artifact import Artifact
    from inference.types import PredictResult

ID = ModelId("echo", 3)


def echo() -> None:
    x = rows("x", 2)
    tf.negative(x, name="minus")
    tf.add(x, 1.0, name="plus")


class Gated(Servable):
    """A servable whose calls wait, each in its thread, until they are let through."""

    def __init__(self, artifact: Artifact) -> None:
        super().__init__(artifact)
        self.inside = 0
        self.most = 0
        self.gate = threading.Semaphore(0)
        self.entered = anyio.Event()
        self._count = threading.Lock()

    def run(self, *args: Any, **kwargs: Any) -> Any:
        with self._count:
            self.inside += 1
            self.most = max(self.most, self.inside)

        anyio.from_thread.run_sync(self._tell)
        self.gate.acquire()

        with self._count:
            self.inside -= 1

        return super().run(*args, **kwargs)

    async def until_inside(self, calls: int) -> None:
        while self.inside < calls:
            await self.entered.wait()

    def _tell(self) -> None:
        entered, self.entered = self.entered, anyio.Event()
        entered.set()


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return compile_graph(tmp_path_factory.mktemp("echo"), echo)


@pytest.fixture
def servable(artifact: Artifact) -> Iterator[Gated]:
    with Gated(artifact) as servable:
        yield servable


def new(tmp_path: Path, concurrency: int = 2) -> tuple[Model, list[ModelState]]:
    """A model, and the states that it tells of."""
    states: list[ModelState] = []
    files = ModelFiles(id=ID, path=tmp_path / "echo.pb")
    model = Model(
        files,
        concurrency=concurrency,
        changed=lambda: states.append(model.status().state),
    )
    return model, states


def loaded(tmp_path: Path, servable: Servable, concurrency: int = 2) -> Model:
    model, _ = new(tmp_path, concurrency)
    model.succeed(servable, seconds=0.5, fresh=True)
    return model


def request(number: float = 1.0, **choices: Any) -> PredictRequest:
    inputs = choices.pop("inputs", {UNNAMED: [[number, number]]})
    return PredictRequest(model=ModelSpec(name="echo"), inputs=inputs, **choices)


async def collect(model: Model, number: float, into: list[PredictResult]) -> None:
    into.append(await model.predict(request(number)))


async def test_states_on_the_way_to_available(tmp_path: Path, servable: Gated) -> None:
    model, states = new(tmp_path)
    assert (model.status().state, model.settled) == (ModelState.START, False)

    model.begin("reading")
    assert (model.status().stage, model.settled) == ("reading", False)

    with pytest.raises(ModelLoading, match=r"'echo' is still loading \(reading\)"):
        await model.predict(request())

    model.succeed(servable, seconds=0.5, fresh=True)
    status = model.status()
    assert (status.state, status.stage, status.error) == ("AVAILABLE", "", None)
    assert status.format == "frozen graph"
    assert status.default_signature == "serving_default"
    assert list(status.signatures) == ["serving_default"]
    assert (status.concurrency, status.load_seconds) == (2, 0.5)
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

    with pytest.raises(LoadFailed, match="'echo' could not be loaded: the file is cut"):
        await model.predict(request())

    model.close()
    assert states == ["LOADING", "END"]


async def test_a_call_before_loading_began(tmp_path: Path) -> None:
    model, _ = new(tmp_path)

    with pytest.raises(ModelLoading, match="still loading; ask again"):
        await model.predict(request())


async def test_a_result_says_what_was_asked(tmp_path: Path, servable: Gated) -> None:
    model = loaded(tmp_path, servable)
    servable.gate.release(2)
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
    servable: Gated,
    choices: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    with pytest.raises(error, match=words):
        await loaded(tmp_path, servable).predict(request(**choices))

    assert servable.most == 0


@pytest.mark.parametrize("concurrency", [1, 2, 5])
async def test_no_more_calls_at_a_time_than_are_allowed(
    tmp_path: Path, servable: Gated, concurrency: int
) -> None:
    model = loaded(tmp_path, servable, concurrency)
    done: list[PredictResult] = []

    async with anyio.create_task_group() as tasks:
        for number in range(12):
            tasks.start_soon(collect, model, number, done)

        await servable.until_inside(concurrency)
        await anyio.wait_all_tasks_blocked()
        statistics = model.limiter.statistics()
        servable.gate.release(12)

    assert servable.most == concurrency
    assert statistics.borrowed_tokens == concurrency
    assert statistics.tasks_waiting == 12 - concurrency
    answers = sorted(result.outputs["plus"][0, 0] for result in done)
    np.testing.assert_array_equal(answers, np.arange(12) + 1.0)


async def test_a_token_is_held_until_the_thread_ends(
    tmp_path: Path, servable: Gated
) -> None:
    """A waiter that has gone doesn't let one thread more in."""
    model = loaded(tmp_path, servable, concurrency=1)
    done: list[PredictResult] = []

    async with anyio.create_task_group() as tasks:
        gone = anyio.CancelScope()
        tasks.start_soon(partial(cancelled, gone, model))
        await servable.until_inside(1)
        gone.cancel()
        tasks.start_soon(collect, model, 2.0, done)
        await anyio.wait_all_tasks_blocked()
        statistics = model.limiter.statistics()
        servable.gate.release(2)

    assert servable.most == 1
    assert (statistics.borrowed_tokens, statistics.tasks_waiting) == (1, 1)
    assert len(done) == 1
    assert model.limiter.borrowed_tokens == 0


async def test_a_call_that_is_given_up_while_it_waits_is_never_run(
    tmp_path: Path, servable: Gated
) -> None:
    model = loaded(tmp_path, servable, concurrency=1)
    done: list[PredictResult] = []

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(collect, model, 1.0, done)
        await servable.until_inside(1)
        gone = anyio.CancelScope()
        tasks.start_soon(partial(cancelled, gone, model))
        await anyio.wait_all_tasks_blocked()
        gone.cancel()
        await anyio.wait_all_tasks_blocked()

        assert model.limiter.statistics().tasks_waiting == 0
        # One pass for one call: a second would wait for ever.
        servable.gate.release()

    assert servable.inside == 0
    assert len(done) == 1


async def cancelled(scope: anyio.CancelScope, model: Model) -> None:
    with scope:
        await model.predict(request())


async def test_a_call_that_fails_gives_its_token_back(
    tmp_path: Path, servable: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Any:
        raise InputMismatch("too wide")

    model = loaded(tmp_path, servable, concurrency=1)
    monkeypatch.setattr(servable, "run", fail)

    with pytest.raises(InputMismatch, match="too wide"):
        await model.predict(request())

    assert model.limiter.borrowed_tokens == 0
