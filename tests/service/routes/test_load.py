"""Busy models as clients see them: refusals, deadlines, the body budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from inference import DeadlineExceeded
from tests.support.clients import make_client
from tests.support.fakes import FakeEngine, FakeModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import httpx

    from inference import Array

PATH = "/v1/models/half:predict"
BODY = b'{"instances": [1.0]}'


async def unread() -> AsyncIterator[bytes]:
    raise AssertionError("the body of a refused request must not be read")
    yield b""


async def test_a_full_model_refuses_before_the_body_is_read() -> None:
    async with make_client(FakeEngine(FakeModel(full=True))) as client:
        response = await client.post(
            PATH, content=unread(), headers={"Content-Length": "999999"}
        )

    assert response.status_code == 429
    assert response.headers["Retry-After"] == "2"
    assert response.json() == {"error": "model half/1 is busy"}


async def test_a_full_model_does_not_affect_another() -> None:
    models = FakeModel(full=True), FakeModel(name="free")

    async with make_client(FakeEngine(*models)) as client:
        response = await client.post("/v1/models/free:predict", content=BODY)

    assert response.json() == {"predictions": [2.5]}


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        pytest.param(None, None, id="the model's"),
        pytest.param("wait=2.5", 2.5, id="the client's"),
        pytest.param("respond-async", None, id="another preference"),
    ],
)
async def test_the_clients_wait_reaches_the_engine(
    prefer: str | None, seconds: float | None
) -> None:
    engine = FakeEngine(FakeModel())
    headers = {} if prefer is None else {"Prefer": prefer}

    async with make_client(engine) as client:
        await client.post(PATH, content=BODY, headers=headers)

    [request] = engine.requests
    assert request.timeout == (seconds and pytest.approx(seconds, abs=1))


async def test_an_invalid_wait_is_refused() -> None:
    async with make_client(FakeEngine(FakeModel())) as client:
        response = await client.post(PATH, content=BODY, headers={"Prefer": "wait=x"})

    assert response.status_code == 400
    assert "send for example 'Prefer: wait=2.5'" in response.json()["error"]


async def test_a_deadline_is_a_504() -> None:
    def late(inputs: Mapping[str, Array]) -> dict[str, Array]:
        raise DeadlineExceeded("The request's time of 1 s is over.")

    async with make_client(FakeEngine(FakeModel(function=late))) as client:
        response = await client.post(PATH, content=BODY)

    assert response.status_code == 504
    assert response.json() == {"error": "The request's time of 1 s is over."}


async def chunked() -> AsyncIterator[bytes]:
    yield BODY[:10]
    yield BODY[10:]


@pytest.mark.parametrize("body", [BODY, None], ids=["its length told", "chunked"])
async def test_bodies_over_the_budget_are_refused_until_some_end(
    body: bytes | None,
) -> None:
    gate = anyio.Event()
    model = FakeModel(gate=gate)
    answers: list[httpx.Response] = []

    async with make_client(FakeEngine(model), max_bodies_bytes=30) as client:

        async def ask() -> None:
            answers.append(await client.post(PATH, content=BODY))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await model.started.wait()
            refused = await client.post(PATH, content=body or chunked())
            gate.set()

        again = await client.post(PATH, content=body or chunked())

    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "1"
    assert "--max-bodies-bytes" in refused.json()["error"]
    assert [answers[0].status_code, again.status_code] == [200, 200]
