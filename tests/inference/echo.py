"""A small model of a real graph, its threads held at a gate."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

from inference.backend import tf
from inference.batcher import Batcher
from inference.limits import Limits
from inference.loading import Loaded
from inference.model import Model
from inference.repository import ModelFiles
from inference.runtime import Servable
from inference.types import UNNAMED, Load, ModelId, ModelSpec, PredictRequest
from tests.inference.graphs import rows
from tests.inference.servables import Gate, settled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from inference.artifact import Artifact
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


def new(tmp_path: Path) -> tuple[Model, list[ModelState]]:
    """A model, and the states that it tells of."""
    states: list[ModelState] = []
    files = ModelFiles(id=ID, path=tmp_path / "echo.pb")
    model = Model(files, changed=lambda: states.append(model.status().state))
    return model, states


def loaded(servable: Servable, limits: Limits = TWO) -> Loaded:
    return Loaded(
        servable=servable,
        limits=limits,
        plans=limits.plans(servable.signatures),
        concurrency=limits.concurrency or 1,
        seconds=0.5,
        fresh=True,
    )


@asynccontextmanager
async def available(
    tmp_path: Path, servable: Held, limits: Limits = TWO
) -> AsyncIterator[Model]:
    """A model that is served, and has nothing left at the end."""
    model, _ = new(tmp_path)
    batcher = Batcher(loaded(servable, limits))
    model.succeed(loaded(servable, limits), batcher)

    async with anyio.create_task_group() as tasks:
        await tasks.start(batcher.serve)

        try:
            yield model
            servable.gate.let_through()
            await settled(batcher)
        finally:
            servable.gate.let_through()
            tasks.cancel_scope.cancel()

    assert model.status().load == Load()


def request(number: float = 1.0, **choices: Any) -> PredictRequest:
    inputs = choices.pop("inputs", {UNNAMED: [[number, number]]})
    return PredictRequest(model=ModelSpec(name="echo"), inputs=inputs, **choices)


async def collect(model: Model, number: float, into: list[PredictResult]) -> None:
    into.append(await model.predict(request(number)))
