"""A call with an array is answered as the same rows in JSON are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from inference import UNNAMED, InputMismatch, ModelState
from service.app import create_app
from service.bridge.bridge import Bridge
from service.jobs.chunk_size import ChunkSize
from service.jobs.job import JobRequest
from service.routes.array_calls import ArrayCalls
from service.settings.settings import load_settings
from tests.support.fakes import FakeEngine, FakeModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference import Array

PREDICT = "/v1/models/half:predict"


def refused(inputs: Mapping[str, Array]) -> dict[str, Array]:
    raise InputMismatch("it is refused")


def broken(inputs: Mapping[str, Array]) -> dict[str, Array]:
    raise RuntimeError("broken")


@pytest.mark.parametrize(
    ("model", "path", "rows", "status"),
    [
        pytest.param({}, PREDICT, np.arange(3.0), 200, id="answered"),
        pytest.param({}, PREDICT, np.arange(3), 200, id="whole numbers"),
        pytest.param({}, f"{PREDICT}s", np.arange(3.0), 404, id="no such model"),
        pytest.param({"function": refused}, PREDICT, np.ones(1), 400, id="refused"),
        pytest.param({"full": True}, PREDICT, np.ones(1), 429, id="overloaded"),
        pytest.param(
            {"state": ModelState.END}, PREDICT, np.ones(1), 503, id="unloaded"
        ),
        pytest.param({"function": broken}, PREDICT, np.ones(1), 500, id="broken"),
    ],
)
async def test_an_array_is_answered_as_json_is(
    model: dict[str, Any], path: str, rows: Array, status: int
) -> None:
    path = path.replace("half:predicts", "other:predict")
    engine = FakeEngine(FakeModel(**model))
    app = create_app(engine, load_settings(models="/"))
    request = JobRequest(path=path, headers={}, body=b"")

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(Bridge(app)), base_url="http://tandem"
    ) as client:
        expected = await client.post(path, json={"instances": rows.tolist()})

    found = await ArrayCalls(app, engine).call(request, None, {UNNAMED: rows})

    assert found.status == expected.status_code == status
    assert found.headers.get("retry-after") == expected.headers.get("retry-after")

    if status != 500:
        # Of an internal error the client is told a request's id.
        assert json.loads(found.body) == expected.json()


@pytest.mark.parametrize(
    ("path", "known"),
    [
        pytest.param(PREDICT, True, id="a model"),
        pytest.param("/v1/models/other:predict", False, id="no such model"),
    ],
)
def test_chunks_have_the_models_size(path: str, known: bool) -> None:
    engine = FakeEngine(FakeModel())
    calls = ArrayCalls(create_app(engine, load_settings(models="/")), engine)

    size = calls.chunk_size(
        JobRequest(path=path, headers={}, body=b""), None, grows=True
    )

    assert isinstance(size, ChunkSize) is known
