"""Access to the admin calls, and its log lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import structlog

from inference import ModelState
from service.bridge.bridge import Bridge
from service.telemetry.logs import add_request_id
from tests.support.admin import TOKEN, admin_client, bearer, write_token
from tests.support.clients import make_app, make_client
from tests.support.fakes import FakeEngine, FakeModel
from tests.support.servers import GONE, HandDriven

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

UNLOAD = "/v1/admin/models/half/unload"


def acts(lines: Any) -> list[dict[str, Any]]:
    return [line for line in lines if "act" in line]


async def test_without_a_token_file_the_calls_are_off() -> None:
    engine = FakeEngine(FakeModel())
    async with make_client(engine) as client:
        response = await client.post(UNLOAD, headers=bearer())
        index = await client.get("/")

    assert response.status_code == 404
    assert "--admin-token-file" in response.json()["error"]
    assert engine.models()[0].state == "AVAILABLE"
    assert "/v1/admin" not in index.text


async def test_the_index_lists_the_calls_that_are_open(tmp_path: Path) -> None:
    async with admin_client(FakeEngine(), tmp_path, token=None) as client:
        index = await client.get("/")

    assert "PUT /v1/admin/models/<name>/labels" in index.json()["urls"]


@pytest.mark.parametrize(
    ("header", "told"),
    [
        pytest.param(None, "send it in the header", id="none"),
        pytest.param("", "send it in the header", id="empty"),
        pytest.param("Bearer", "send it in the header", id="a scheme alone"),
        pytest.param("Bearer ", "send it in the header", id="an empty token"),
        pytest.param(f"Basic {TOKEN}", "send it in the header", id="another scheme"),
        pytest.param(TOKEN, "send it in the header", id="no scheme"),
        pytest.param("Bearer wrong", "isn't that of", id="wrong"),
        pytest.param(f"Bearer {TOKEN[:-1]}", "isn't that of", id="too short"),
        pytest.param(f"Bearer {TOKEN}x", "isn't that of", id="too long"),
        pytest.param(f"Bearer {TOKEN.upper()}", "isn't that of", id="in capitals"),
        pytest.param(f"Bearer {TOKEN} {TOKEN}", "isn't that of", id="twice"),
        pytest.param(b"Bearer \xff\xfe", "isn't that of", id="not text"),
    ],
)
async def test_refused(tmp_path: Path, header: Any, told: str) -> None:
    engine = FakeEngine(FakeModel())
    async with admin_client(engine, tmp_path, token=None) as client:
        headers = {} if header is None else {"Authorization": header}
        response = await client.post(UNLOAD, headers=headers)

    assert response.status_code == 401
    challenge = response.headers["WWW-Authenticate"]
    assert challenge.startswith("Bearer ")
    assert ("invalid_token" in challenge) is ("isn't that of" in told)
    assert told in response.json()["error"]
    assert engine.models()[0].state == "AVAILABLE"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_case_insensitive(tmp_path: Path, scheme: str) -> None:
    async with admin_client(FakeEngine(FakeModel()), tmp_path, token=None) as client:
        headers = {"Authorization": f"{scheme}  {TOKEN}"}
        response = await client.post(UNLOAD, headers=headers)

    assert response.status_code == 200


async def test_a_token_may_have_an_equals_sign_inside(tmp_path: Path) -> None:
    token = "key=value-of-some-length"
    async with admin_client(FakeEngine(FakeModel()), tmp_path, token=None) as client:
        write_token(tmp_path / "token", token)
        response = await client.post(UNLOAD, headers=bearer(token))

    assert response.status_code == 200


async def test_a_refused_body_is_not_read(tmp_path: Path) -> None:
    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("the body must not be read")
        yield b""

    async with admin_client(FakeEngine(FakeModel()), tmp_path, token=None) as client:
        headers = {"Content-Length": "999999"}
        response = await client.post(UNLOAD, content=unread(), headers=headers)

    assert response.status_code == 401


async def test_a_rotated_token_is_valid_at_once(tmp_path: Path) -> None:
    later = "another-token-of-some-length"
    async with admin_client(FakeEngine(FakeModel()), tmp_path) as client:
        before = await client.post(UNLOAD)
        write_token(tmp_path / "token", later)
        old = await client.post(UNLOAD)
        new = await client.post(UNLOAD, headers=bearer(later))

    assert [r.status_code for r in (before, old, new)] == [200, 401, 200]


async def test_every_act_is_logged_and_no_token(tmp_path: Path) -> None:
    with structlog.testing.capture_logs(processors=[add_request_id]) as lines:
        async with admin_client(FakeEngine(FakeModel()), tmp_path) as client:
            await client.put(
                "/v1/admin/models/half/labels",
                json={"stable": 1, "canary": None},
                headers={"X-Request-ID": "abc"},
            )
            await client.post("/v1/admin/models/half/versions/1/unload")
            await client.put("/v1/admin/drain", json={"draining": True})

    label, unload, drain = acts(lines)
    assert label == {
        "event": "admin act",
        "log_level": "info",
        "act": "label",
        "model": "half",
        "labels": {"stable": 1, "canary": None},
        "client": "127.0.0.1",
        "status": 200,
        "request_id": "abc",
    }
    assert (unload["act"], unload["version"]) == ("unload", 1)
    assert (drain["act"], drain["draining"]) == ("drain", True)
    assert TOKEN not in json.dumps(lines)


@pytest.mark.parametrize(
    ("token", "path", "status", "reason"),
    [
        pytest.param(None, "half/load", 401, "need the token", id="no token"),
        pytest.param("wrong-token-of-length", "half/load", 401, "isn't", id="wrong"),
        pytest.param(TOKEN, "gone/load", 404, "gone", id="no such model"),
        pytest.param(TOKEN, "bad/load", 503, "the file is cut", id="it failed"),
    ],
)
async def test_a_refused_act_is_logged_with_its_reason(
    tmp_path: Path, token: str | None, path: str, status: int, reason: str
) -> None:
    bad = FakeModel(name="bad", state=ModelState.END, broken="the file is cut")
    with structlog.testing.capture_logs() as lines:
        async with admin_client(
            FakeEngine(FakeModel(), bad), tmp_path, token
        ) as client:
            await client.post(f"/v1/admin/models/{path}")

    [line] = acts(lines)
    assert (line["log_level"], line["act"], line["status"]) == (
        "warning",
        "load",
        status,
    )
    assert line["model"] == path.partition("/")[0]
    assert reason in line["reason"]
    assert "wrong-token-of-length" not in json.dumps(lines)


async def test_an_abandoned_act_is_logged(tmp_path: Path) -> None:
    model = FakeModel(state=ModelState.END, gate=anyio.Event())
    app = make_app(FakeEngine(model), admin_token_file=write_token(tmp_path / "token"))
    driven = HandDriven(
        Bridge(app),
        [{"type": "http.request", "body": b"", "more_body": False}],
        method="POST",
        path="/v1/admin/models/half/load",
        headers=[(b"authorization", f"Bearer {TOKEN}".encode())],
    )

    with structlog.testing.capture_logs() as lines:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(driven.run)
            await model.started.wait()
            driven.put(GONE)

    [line] = acts(lines)
    assert (line["act"], line["model"]) == ("load", "half")
    assert "its client has disconnected" in line["event"]


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP"]
)
async def test_no_header_tells_who_the_client_is(tmp_path: Path, header: str) -> None:
    with structlog.testing.capture_logs() as lines:
        async with admin_client(FakeEngine(FakeModel()), tmp_path) as client:
            told = "for=203.0.113.9" if header == "Forwarded" else "203.0.113.9"
            response = await client.post(UNLOAD, headers={header: told})

    assert response.status_code == 200
    [line] = acts(lines)
    assert line["client"] == "127.0.0.1"
