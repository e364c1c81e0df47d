from __future__ import annotations

import logging
import threading
import uuid
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import structlog
from flask import Response
from structlog.testing import capture_logs

from service.bridge.bridge import Bridge
from service.telemetry.logs import add_request_id, request_id
from service.web.access_log import choose_id
from tests.support.clients import make_app, make_client, open_client
from tests.support.fakes import FakeEngine, FakeModel
from tests.support.servers import GONE, HandDriven, body_message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    import httpx

    from inference import Array

PREDICT = "/v1/models/half:predict"
MERGE = [add_request_id]


@pytest.mark.parametrize("sent", ["a", "A-1._b", "x" * 128])
def test_good_ids_are_kept(sent: str) -> None:
    assert choose_id(sent) == sent


@pytest.mark.parametrize("sent", ["", "x" * 129, "a b", "a\n", "a\nb", "é", "٣", 'a"'])
def test_other_ids_are_replaced(sent: str) -> None:
    new = choose_id(sent)

    assert uuid.UUID(new).hex == new
    assert choose_id(sent) != new


async def test_a_line_a_request() -> None:
    with capture_logs(processors=MERGE) as lines:
        async with make_client(FakeEngine(FakeModel())) as client:
            response = await client.post(
                PREDICT,
                content=b'{"instances": [1.0]}',
                headers={"X-Request-ID": "my-id"},
            )

    (line,) = lines
    assert line.pop("milliseconds") > 0
    assert line == {
        "event": "request",
        "log_level": "info",
        "method": "POST",
        "path": PREDICT,
        "status": 200,
        "bytes_in": 20,
        "bytes_out": len(response.content),
        "model": "half",
        "request_id": "my-id",
    }
    assert response.headers["X-Request-ID"] == "my-id"


async def test_a_streamed_answer_is_not_read_to_be_logged() -> None:
    happened: list[str] = []

    def pieces() -> Iterator[bytes]:
        happened.append("read")
        yield b"piece"

    def note(_: object, __: str, line: Any) -> Any:
        happened.append("logged")
        return line

    app = make_app(FakeEngine())
    app.add_url_rule(
        "/stream",
        view_func=lambda: Response(pieces(), headers={"Content-Length": "5"}),
    )

    with capture_logs(processors=[note]) as lines:
        async with open_client(app) as client:
            response = await client.get("/stream")

    assert response.content == b"piece"
    assert happened == ["logged", "read"]
    assert lines[0]["bytes_out"] == 5


async def test_chunked_bodies_are_counted() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"instances":'
        yield b" [1.0]}"

    with capture_logs() as lines:
        async with make_client(FakeEngine(FakeModel())) as client:
            await client.post(PREDICT, content=chunks())

    assert lines[0]["bytes_in"] == 20


async def test_errors_have_a_line_and_an_id_too() -> None:
    with capture_logs(processors=MERGE) as lines:
        async with make_client(FakeEngine()) as client:
            missing = await client.get("/nowhere")
            unknown = await client.post(PREDICT, content=b"{")

    assert [line["status"] for line in lines] == [404, 404]
    ids = [line["request_id"] for line in lines]
    assert ids == [r.headers["X-Request-ID"] for r in (missing, unknown)]
    assert "model" not in lines[0]
    assert lines[1]["model"] == "half"


async def test_probes_are_logged_for_debugging_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.telemetry.logs._lowest", logging.DEBUG)
    with capture_logs() as lines:
        async with make_client(FakeEngine()) as client:
            await client.get("/livez")
            await client.get("/readyz")
            await client.get("/v1/models")

    assert [line["log_level"] for line in lines] == ["debug", "debug", "info"]


async def test_concurrent_requests_keep_their_ids() -> None:
    gate = anyio.Event()

    def log_and_answer(inputs: Mapping[str, Array]) -> dict[str, Array]:
        structlog.get_logger().info("inside", value=inputs["x"].item(0))
        return {"y": inputs["x"]}

    models = [
        FakeModel(name=name, function=log_and_answer, gate=gate) for name in ("a", "b")
    ]
    with capture_logs(processors=MERGE) as lines:
        async with (
            make_client(FakeEngine(*models)) as client,
            anyio.create_task_group() as group,
        ):
            for value, model in enumerate(models):
                group.start_soon(post, client, model.name, value)
                await model.started.wait()

            gate.set()

    inside = {line["value"]: line["request_id"] for line in lines if "value" in line}
    assert inside == {0.0: "a", 1.0: "b"}


async def test_lines_from_worker_threads_have_the_id_too() -> None:
    app = make_app(FakeEngine())

    @app.get("/def")
    def view() -> str:
        structlog.get_logger().info("in a thread")
        return str(threading.get_ident())

    with capture_logs(processors=MERGE) as lines:
        async with open_client(app) as client:
            response = await client.get("/def", headers={"X-Request-ID": "mine"})

    assert response.text != str(threading.get_ident())
    assert [line["request_id"] for line in lines] == ["mine", "mine"]


async def test_an_id_ends_with_its_request() -> None:
    async with make_client(FakeEngine()) as client:
        await client.get("/livez")

    assert request_id.get() is None


async def test_lines_below_the_level_are_not_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.telemetry.logs._lowest", logging.WARNING)
    monkeypatch.setattr("service.web.access_log.describe", None)
    async with make_client(FakeEngine(FakeModel())) as client:
        response = await client.post(PREDICT, content=b'{"instances": [1.0]}')

    assert response.status_code == 200
    assert response.headers["X-Request-ID"]


async def post(client: httpx.AsyncClient, name: str, value: int) -> None:
    await client.post(
        f"/v1/models/{name}:predict",
        json={"instances": [float(value)]},
        headers={"X-Request-ID": name},
    )


async def test_a_client_that_hangs_up_has_a_line_and_its_prediction_ends() -> None:
    model = FakeModel(gate=anyio.Event())
    driven = HandDriven(
        Bridge(make_app(FakeEngine(model))),
        [body_message(b'{"instances": [1.0]}')],
        method="POST",
        path=PREDICT,
    )
    with capture_logs() as lines:
        async with anyio.create_task_group() as group:
            group.start_soon(driven.run)
            await model.started.wait()
            driven.put(GONE)

    (line,) = lines
    assert (line["status"], line["log_level"], line["model"]) == (499, "info", "half")
    assert "bytes_out" not in line
    assert model.cancelled
    assert driven.sent == []
