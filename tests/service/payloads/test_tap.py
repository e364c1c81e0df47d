from __future__ import annotations

import hashlib
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from structlog.testing import capture_logs

from service.bridge.bridge import Bridge
from service.composition import input_names
from service.payloads.log import PayloadLog
from service.payloads.redaction import REDACTED
from service.payloads.sinks import FileSink
from service.payloads.tap import PayloadTap, TapConfig
from service.web.routes import Routes
from tests.support.clients import make_app
from tests.support.fakes import FakeEngine, FakeModel
from tests.support.servers import HandDriven

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

V1, V2 = "/v1/models/half:predict", "/v2/models/half/infer"


@asynccontextmanager
async def tapped(path: Path, **changes: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Serve a model with a payload log in a file, until its records are written."""
    engine = FakeEngine(FakeModel())
    app = make_app(engine)
    given: dict[str, Any] = {
        "share": 1.0,
        "max_bytes": 1000,
        "redact": frozenset(),
        "find": Routes(app).find,
        "inputs": lambda model: input_names(engine, model),
    }
    with PayloadLog(FileSink(str(path)), 1000) as log:
        served = PayloadTap(Bridge(app), log, TapConfig(**given | changes))
        transport = httpx.ASGITransport(served)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://t"
        ) as client:
            yield client


def records(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []

    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "payloads"


@pytest.fixture
def only_input() -> str:
    [name] = input_names(FakeEngine(FakeModel()), "half")
    return name


def infer_body(name: str) -> dict[str, Any]:
    tensor = {"name": name, "shape": [1], "datatype": "FP32", "data": [3.0]}
    return {"inputs": [tensor]}


async def test_predictions_are_written_down(path: Path, only_input: str) -> None:
    headers = {"X-Request-ID": "one", "Authorization": "Bearer hidden"}
    async with tapped(path) as client:
        v1 = await client.post(V1, json={"instances": [3.0]}, headers=headers)
        v2 = await client.post(V2, json=infer_body(only_input))

    first, second = records(path)
    assert first["request"]["json"] == {"instances": [3.0]}
    assert first["response"]["json"] == v1.json()
    assert (first["model"], first["status"]) == ("half", 200)
    assert (first["request_id"], first["path"]) == ("one", V1)
    assert first["version"] == int(v1.headers["x-model-version"])
    assert second["request"]["json"] == infer_body(only_input)
    assert second["response"]["json"] == v2.json()
    assert "hidden" not in json.dumps([first, second])


async def test_values_of_named_inputs_are_replaced(path: Path, only_input: str) -> None:
    async with tapped(path, redact=frozenset({only_input})) as client:
        await client.post(V1, json={"instances": [3.0]})
        await client.post(V1, json={"inputs": {only_input: [3.0]}})
        await client.post(V2, json=infer_body(only_input))

    rows, columns, tensors = [each["request"]["json"] for each in records(path)]
    assert rows == {"instances": REDACTED}
    assert columns == {"inputs": {only_input: REDACTED}}
    assert tensors["inputs"][0]["data"] == REDACTED


async def test_other_inputs_are_kept(path: Path) -> None:
    async with tapped(path, redact=frozenset({"age"})) as client:
        await client.post(V1, json={"instances": [3.0]})
        await client.post("/v1/models/none:predict", json={"instances": [3.0]})

    known, unknown = [each["request"]["json"] for each in records(path)]
    assert known == {"instances": [3.0]}
    assert unknown == {"instances": REDACTED}


async def test_a_name_that_no_input_has_is_warned_of_once(
    path: Path, only_input: str
) -> None:
    async with tapped(path, redact=frozenset({"aeg"})) as client:
        with capture_logs() as lines:
            await client.post(V1, json={"instances": [3.0]})
            await client.post(V1, json={"instances": [3.0]})

    [warning] = [each for each in lines if "redacts nothing" in each["event"]]
    assert (warning["inputs"], warning["redact"]) == ([only_input], ["aeg"])


async def test_long_bodies_have_a_digest(path: Path) -> None:
    body = json.dumps({"instances": [1.0] * 500}).encode()
    async with tapped(path) as client:
        response = await client.post(V1, content=body)

    [record] = records(path)
    for part, content in ("request", body), ("response", response.content):
        assert record[part]["bytes"] == len(content)
        assert record[part]["sha256"] == hashlib.sha256(content).hexdigest()
        assert record[part]["left_out"] == "too long"


async def test_pieces_that_are_hashed_in_a_thread(path: Path) -> None:
    body = b"[" + b" " * (1 << 19)
    async with tapped(path) as client:
        await client.post(V1, content=body)

    [record] = records(path)
    assert record["status"] == 400
    assert record["request"]["sha256"] == hashlib.sha256(body).hexdigest()


async def test_only_predictions_are_recorded(path: Path) -> None:
    async with tapped(path) as client:
        await client.get("/v1/models/half")
        await client.get("/readyz")
        await client.get(V1)
        await client.post("/nowhere", json={})

    assert records(path) == []


async def test_a_share_is_taken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([0.49, 0.5, 0.99, 0.0])
    monkeypatch.setattr("random.random", lambda: next(drawn))
    async with tapped(path, share=0.5) as client:
        for number in range(4):
            await client.post(V1, json={"instances": [float(number)]})

    taken = [each["request"]["json"]["instances"] for each in records(path)]
    assert taken == [[0.0], [3.0]]


@pytest.mark.parametrize(
    ("status", "headers", "count"),
    [
        pytest.param(200, [], 1, id="answered"),
        pytest.param(429, [], 1, id="refused"),
        pytest.param(401, [], 0, id="no key"),
        pytest.param(403, [], 0, id="another's model"),
        pytest.param(202, [], 0, id="a job"),
        pytest.param(200, [(b"Preference-Applied", b"x")], 0, id="an ended job"),
        pytest.param(None, [], 0, id="client has gone"),
    ],
)
async def test_request_attributes(
    path: Path, status: int | None, headers: list[Any], count: int
) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        if status is not None:
            start = {"type": "http.response.start", "status": status}
            await send({**start, "headers": headers})
            await send({"type": "http.response.body", "body": b"{}"})

    config = TapConfig(
        share=1,
        max_bytes=10,
        redact=frozenset(),
        find=Routes(make_app(FakeEngine(FakeModel()))).find,
        inputs=lambda _: (),
    )
    with PayloadLog(FileSink(str(path)), 10) as log:
        tap = PayloadTap(application, log, config)
        await HandDriven(tap, method="POST", path=V1).run()

    assert len(records(path)) == count
