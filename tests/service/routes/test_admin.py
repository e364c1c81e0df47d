"""The effects of admin calls; access to them is in `test_admin_access`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from inference import ModelState
from tests.support.admin import admin_client
from tests.support.fakes import FakeEngine, FakeModel

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

MODELS = "/v1/admin/models"


def ranking() -> list[FakeModel]:
    return [FakeModel(name="ranking", version=version) for version in (1, 2)]


async def ask(
    engine: FakeEngine, folder: Path, method: str, path: str, body: Any = None
) -> httpx.Response:
    async with admin_client(engine, folder) as client:
        sent = {} if body is None else {"json": body}
        return await client.request(method, f"/v1/admin{path}", **sent)


@pytest.mark.parametrize(
    ("path", "states"),
    [
        pytest.param("ranking", ["END", "END"], id="all versions"),
        pytest.param("ranking/versions/1", ["END", "AVAILABLE"], id="one version"),
    ],
)
async def test_unload(tmp_path: Path, path: str, states: list[str]) -> None:
    engine = FakeEngine(*ranking(), FakeModel(name="other"))

    response = await ask(engine, tmp_path, "POST", f"/models/{path}/unload")

    entry = response.json()
    assert (response.status_code, entry["name"]) == (200, "ranking")
    assert [version["state"] for version in entry["versions"]] == states
    assert engine.models()[0].state == "AVAILABLE"


async def test_load_after_unload(tmp_path: Path) -> None:
    engine = FakeEngine(FakeModel())

    async with admin_client(engine, tmp_path) as client:
        await client.post(f"{MODELS}/half/unload")
        refused = await client.post("/v1/models/half:predict", json={"instances": [1]})
        loaded = await client.post(f"{MODELS}/half/versions/1/load", json={})
        answer = await client.post("/v1/models/half:predict", json={"instances": [1]})

    assert (refused.status_code, answer.status_code) == (503, 200)
    assert loaded.json()["versions"][0]["state"] == "AVAILABLE"
    assert loaded.json() == (loaded.json() | {"predict": "/v1/models/half:predict"})


async def test_load_waits_until_the_model_serves(tmp_path: Path) -> None:
    model = FakeModel(state=ModelState.END, gate=anyio.Event())
    engine = FakeEngine(model)
    answers: list[httpx.Response] = []

    async def load() -> None:
        answers.append(await ask(engine, tmp_path, "POST", "/models/half/load"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(load)
        await model.started.wait()
        assert answers == []
        assert model.gate is not None
        model.gate.set()

    assert answers[0].json()["versions"][0]["state"] == "AVAILABLE"


async def test_a_load_that_fails_says_why(tmp_path: Path) -> None:
    engine = FakeEngine(FakeModel(state=ModelState.END, broken="the file is cut"))

    response = await ask(engine, tmp_path, "POST", "/models/half/load")

    assert response.status_code == 503
    assert "the file is cut" in response.json()["error"]


async def test_labels_are_set_and_removed(tmp_path: Path) -> None:
    one, two = ranking()
    one.labels = ("canary", "old", "stable")

    response = await ask(
        FakeEngine(one, two),
        tmp_path,
        "PUT",
        "/models/ranking/labels",
        {"stable": 2, "canary": None},
    )

    versions = response.json()["versions"]
    assert [version["labels"] for version in versions] == [["old"], ["stable"]]


async def test_labels_of_an_unknown_version_change_nothing(
    tmp_path: Path,
) -> None:
    one, two = ranking()
    one.labels = ("stable",)
    body = {"stable": 2, "canary": 9}

    response = await ask(
        FakeEngine(one, two), tmp_path, "PUT", "/models/ranking/labels", body
    )

    assert response.status_code == 404
    assert (one.labels, two.labels) == (("stable",), ())


@pytest.mark.parametrize(
    ("path", "pinned"),
    [
        pytest.param("ranking", [True, True], id="all versions"),
        pytest.param("ranking/versions/2", [False, True], id="one version"),
    ],
)
async def test_pin(tmp_path: Path, path: str, pinned: list[bool]) -> None:
    engine = FakeEngine(*ranking())

    async with admin_client(engine, tmp_path) as client:
        on = await client.put(f"{MODELS}/{path}/pin", json={"pinned": True})
        off = await client.put(f"{MODELS}/{path}/pin", json={"pinned": False})

    assert [version["pinned"] for version in on.json()["versions"]] == pinned
    assert not any(version["pinned"] for version in off.json()["versions"])


@pytest.mark.parametrize(
    ("path", "calls"),
    [
        pytest.param("ranking", [4, 4], id="all versions"),
        pytest.param("ranking/versions/2", [1, 4], id="one version"),
    ],
)
async def test_concurrency(tmp_path: Path, path: str, calls: list[int]) -> None:
    response = await ask(
        FakeEngine(*ranking()),
        tmp_path,
        "PUT",
        f"/models/{path}/concurrency",
        {"concurrency": 4},
    )

    versions = response.json()["versions"]
    assert [version["concurrency"] for version in versions] == calls


async def test_rescan_returns_models_and_problems(tmp_path: Path) -> None:
    engine = FakeEngine(FakeModel())
    engine.found = [FakeModel(name="new")]
    engine.scan_problems = ["notes: holds no model."]

    response = await ask(engine, tmp_path, "POST", "/rescan")

    assert response.json()["problems"] == ["notes: holds no model."]
    assert [model["name"] for model in response.json()["models"]] == ["half", "new"]


async def test_an_unreadable_repository_is_reported(tmp_path: Path) -> None:
    engine = FakeEngine(FakeModel())
    engine.unreadable = "Input/output error"

    async with admin_client(engine, tmp_path) as client:
        rescan = await client.post("/v1/admin/rescan")
        listed = await client.get("/v1/models")

    assert rescan.status_code == 503
    assert "Input/output error" in rescan.json()["error"]
    assert listed.json()["repository_error"] == "Input/output error"


async def test_a_draining_server_is_not_ready_but_serves(tmp_path: Path) -> None:
    async with admin_client(FakeEngine(FakeModel()), tmp_path) as client:
        drain = await client.put("/v1/admin/drain", json={"draining": True})
        draining = await client.get("/readyz")
        answer = await client.post("/v1/models/half:predict", json={"instances": [1]})
        await client.put("/v1/admin/drain", json={"draining": False})
        again = await client.get("/readyz")

    assert drain.json() == {"draining": True}
    assert (draining.status_code, again.status_code) == (503, 200)
    assert draining.json()["draining"] is True
    assert (draining.json()["ready"], again.json()["ready"]) == (False, True)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "/models/gone/load", None, 404, "gone"),
        ("POST", "/models/ranking/versions/9/unload", None, 404, "9"),
        ("PUT", "/models/gone/pin", {"pinned": True}, 404, "gone"),
        ("PUT", "/models/ranking/labels", {"0": 1}, 400, "'0': String should match"),
        ("PUT", "/models/ranking/concurrency", {"concurrency": 999}, 400, "at most 64"),
        ("PUT", "/drain", {"drain": True}, 400, 'Send for example {"draining": true}'),
        ("POST", "/rescan", {"now": True}, 400, "'now': there is no such key"),
        ("POST", "/resacn", None, 404, "POST /v1/admin/rescan"),
        ("GET", "/rescan", None, 405, "use POST"),
    ],
)
async def test_mistakes_are_explained(
    tmp_path: Path, method: str, path: str, body: Any, status: int, words: str
) -> None:
    response = await ask(FakeEngine(*ranking()), tmp_path, method, path, body)

    assert response.status_code == status
    assert words in response.json()["error"]


async def test_urls_of_the_answer_are_below_the_root(tmp_path: Path) -> None:
    """The entry is the list's, with URLs that a program may follow."""
    async with admin_client(FakeEngine(FakeModel()), tmp_path) as client:
        entry = (await client.post(f"{MODELS}/half/load")).json()
        listed = (await client.get("/v1/models")).json()["models"]

    assert [entry] == listed
