"""A small model of a real graph, whose threads wait at a gate."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from inference.artifacts.artifact import Artifact
from inference.artifacts.builder import Compiled
from inference.backend import tf
from inference.lifecycle.instance import Instance
from inference.lifecycle.model import Model
from inference.limits import Limits
from inference.repository.scan import ModelFiles
from inference.runtime.loader import Prepared
from inference.runtime.opening import Loaded
from inference.runtime.servable import Servable
from inference.types import UNNAMED, ModelId, ModelSpec, PredictRequest, QueueStats
from tests.support.graphs import rows
from tests.support.servables import Gate, settled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.abc import TaskStatus

    from inference.types import ModelState, PredictResult

ID = ModelId("echo", 3)
TWO = Limits(concurrency=2)


def echo() -> None:
    x = rows("x", 2)
    tf.negative(x, name="minus")
    tf.add(x, 1.0, name="plus")


class Held(Servable):
    """A real servable whose calls wait, each in its thread, at its gate."""

    def __init__(self, artifact: Artifact) -> None:
        super().__init__(artifact)
        self.gate = Gate()

    def run(self, *args: Any, **kwargs: Any) -> Any:
        self.gate.pass_through()
        return super().run(*args, **kwargs)


def new() -> tuple[Model, list[ModelState]]:
    """Return a model, and the list of states that it reports."""
    states: list[ModelState] = []
    model = Model(ID, "echo.pb", changed=lambda: states.append(model.state))
    return model, states


def prepared(servable: Servable, limits: Limits = TWO) -> Prepared:
    return Prepared(
        files=ModelFiles(id=ID, path=Path("echo.pb")),
        compiled=Compiled(
            artifact=Artifact(Path("echo")), manifest=servable.manifest, fresh=True
        ),
        limits=limits,
        plans=limits.plans(servable.signatures),
    )


def loaded(servable: Servable, limits: Limits = TWO) -> Loaded:
    return Loaded(
        servable=servable,
        limits=limits,
        plans=limits.plans(servable.signatures),
        concurrency=limits.concurrency or 1,
        seconds=0.5,
        nbytes=5000,
    )


def instance_of(servable: Servable, limits: Limits = TWO) -> Instance:
    return Instance(loaded(servable, limits), version=3, released=lambda: None)


@asynccontextmanager
async def available(servable: Held, limits: Limits = TWO) -> AsyncIterator[Model]:
    """Yield a served model, and check that nothing is left at the end."""
    model, _ = new()
    model.succeed(prepared(servable, limits))
    instance = instance_of(servable, limits)
    model.install(instance)

    async with anyio.create_task_group() as tasks:
        await tasks.start(serve, instance)

        try:
            yield model
            servable.gate.let_through()
            await settled(instance.batcher)
        finally:
            servable.gate.let_through()
            tasks.cancel_scope.cancel()

    assert instance.idle
    assert model.status().queue == QueueStats()


async def serve(instance: Instance, *, task_status: TaskStatus[None]) -> None:
    await instance.serve(task_status=task_status)


def request(number: float = 1.0, **choices: Any) -> PredictRequest:
    inputs = choices.pop("inputs", {UNNAMED: [[number, number]]})
    return PredictRequest(model=ModelSpec(name="echo"), inputs=inputs, **choices)


async def ask(model: Model, number: float = 1.0, **choices: Any) -> PredictResult:
    """Return the response to a request, as an engine does for a loaded model."""
    wanted = request(number, **choices)
    arrived = anyio.current_time()
    deadline = model.deadline(arrived, wanted.timeout)
    assert model.instance is not None
    return await model.instance.predict(
        model.id, wanted, arrived=arrived, deadline=deadline
    )


async def collect(model: Model, number: float, into: list[PredictResult]) -> None:
    into.append(await ask(model, number))
