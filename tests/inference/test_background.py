"""Calls in the background don't count as traffic."""

from __future__ import annotations

import math
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from inference import (
    UNNAMED,
    Engine,
    EngineConfig,
    ModelNotFound,
    ModelSpec,
    PredictRequest,
    background_calls,
)
from inference.background import background

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("where", "counts"),
    [
        pytest.param(nullcontext, True, id="a call"),
        pytest.param(background_calls, False, id="one in the background"),
    ],
)
async def test_a_call_ends_the_quiet(tmp_path: Path, where: Any, counts: bool) -> None:
    engine = Engine(EngineConfig(repository=tmp_path, cache=tmp_path))
    request = PredictRequest(model=ModelSpec(name="none"), inputs={UNNAMED: [1.0]})

    with where(), suppress(ModelNotFound):
        await engine.predict(request)

    assert (engine.quiet_seconds() < math.inf) is counts


async def test_tasks_that_are_begun_in_the_background_stay_there() -> None:
    found = []

    async def look() -> None:
        found.append(background.get())

    async with anyio.create_task_group() as tasks:
        with background_calls():
            tasks.start_soon(look)

        tasks.start_soon(look)

    assert found == [True, False]
