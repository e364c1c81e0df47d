"""API keys on every route, both ways of a prediction, and of jobs."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from service.app import create_app
from service.auth.keys import key_line
from service.bridge.bridge import Bridge
from service.jobs.bounds import Bounds
from service.jobs.jobs import Jobs
from service.jobs.sqlite import SqliteStore
from service.settings.settings import load_settings
from service.web.keys import OPEN, OPEN_BLUEPRINTS, trusted
from tests.support.admin import bearer, write_token
from tests.support.clients import make_app, open_client
from tests.support.fakes import FakeEngine, FakeModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx

ANY, FEW, SLOW = "key-for-any-model-1", "key-for-few-models", "key-for-one-request"
PREDICT = "/v1/models/half:predict"
BODY = {"instances": [[1.0]]}
ARGUMENTS = {
    "name": "half",
    "version": 1,
    "label": "stable",
    "id": "00000000-0000-0000-0000-000000000000",
    "method": "classify",
    "file": "page.js",
}
OPEN_PATHS = {
    *("/livez", "/startupz", "/readyz", "/v2/health/live", "/v2/health/ready"),
    "/metrics",
}
PAGES = {"/models/half", "/page/page.js", "/docs", "/docs/page.js"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    lines = (
        key_line("any", ANY),
        key_line("few", FEW, ["other"]),
        key_line("slow", SLOW, rate=0.01),
    )
    path.write_text("\n".join(lines))
    path.chmod(0o600)
    return path


@pytest.fixture
async def client(file: Path) -> AsyncIterator[httpx.AsyncClient]:
    engine = FakeEngine(FakeModel(), FakeModel(name="other"))
    async with open_client(make_app(engine, api_keys_file=file)) as opened:
        yield opened


def own(key: str) -> dict[str, str]:
    return {"X-API-Key": key}


async def test_every_route_wants_a_key(file: Path, tmp_path: Path) -> None:
    """A new route is closed, unless it is added to those that are open here."""
    token = write_token(tmp_path / "token")
    engine = FakeEngine(FakeModel())
    app = make_app(engine, api_keys_file=file, admin_token_file=token)
    adapter = app.url_map.bind("tandem")
    answered, refused = set(), 0

    async with open_client(app) as client:
        for rule in app.url_map.iter_rules():
            values = {name: ARGUMENTS[name] for name in rule.arguments}
            path = adapter.build(rule.endpoint, values, force_external=False)
            for method in sorted(rule.methods or ()):
                response = await client.request(method, path)
                if response.status_code != 401:
                    answered.add(path)
                else:
                    refused += 1

    assert answered == OPEN_PATHS | PAGES | {
        # Only `OPTIONS`, as they have the admin token's check in the view.
        "/v2/repository/models/half/load",
        "/v2/repository/models/half/unload",
    }
    assert refused > 60


async def test_only_browsers_have_the_root_without_a_key(
    client: httpx.AsyncClient,
) -> None:
    page = await client.get("/", headers={"Accept": "text/html,*/*;q=0.8"})
    program = await client.get("/", headers={"Accept": "application/json"})

    assert (page.status_code, program.status_code) == (200, 401)
    assert page.headers["Content-Type"].startswith("text/html")
    assert "half" not in page.text


def test_the_open_endpoints_exist(file: Path) -> None:
    app = make_app(FakeEngine(), api_keys_file=file)

    assert set(app.view_functions) >= OPEN
    assert set(app.blueprints) >= OPEN_BLUEPRINTS


@pytest.mark.parametrize(
    ("headers", "status", "told"),
    [
        pytest.param({}, 401, "send it in the header", id="none"),
        pytest.param(bearer(""), 401, "send it in the header", id="empty"),
        pytest.param(own("wrong"), 401, "isn't one of", id="wrong"),
        pytest.param(bearer("wrong"), 401, "isn't one of", id="a wrong bearer"),
        pytest.param(own(ANY[:-1]), 401, "isn't one of", id="too short"),
        pytest.param({**own(ANY), **bearer(FEW)}, 401, "send one", id="two"),
        pytest.param(own(FEW), 403, "isn't for the model 'half'", id="another model"),
        pytest.param(own(ANY), 200, "", id="right"),
        pytest.param(bearer(ANY), 200, "", id="right bearer"),
        pytest.param({**own(ANY), **bearer(ANY)}, 200, "", id="right in both"),
    ],
)
@pytest.mark.parametrize("direct", [True, False], ids=["direct", "flask"])
async def test_both_ways_check_alike(
    file: Path, headers: dict[str, str], status: int, told: str, direct: bool
) -> None:
    app = make_app(FakeEngine(FakeModel()), api_keys_file=file)
    app.dispatches_otherwise = not direct
    async with open_client(app) as client:
        response = await client.post(PREDICT, json=BODY, headers=headers)

    assert response.status_code == status, response.text
    assert status == 200 or told in response.json()["error"]
    assert ("WWW-Authenticate" in response.headers) == (status == 401)


async def test_a_quota_is_refused_with_the_time_to_wait(
    client: httpx.AsyncClient,
) -> None:
    first = await client.post(PREDICT, json=BODY, headers=own(SLOW))
    second = await client.post(PREDICT, json=BODY, headers=own(SLOW))
    other = await client.post(PREDICT, json=BODY, headers=own(ANY))

    assert (first.status_code, second.status_code) == (200, 429)
    assert 1 <= int(second.headers["Retry-After"]) <= 100
    assert "0.01 requests a second" in second.json()["error"]
    assert other.status_code == 200
    metrics = (await client.get("/metrics")).text
    assert re.search(r'tandem_refusals_total\{.*reason="key_quota"\} 1', metrics)


@pytest.mark.parametrize("path", ["/", "/v1/models", "/v2/models", "/v2/models/stats"])
async def test_lists_show_the_models_of_a_key(
    client: httpx.AsyncClient, path: str
) -> None:
    everything = await client.get(path, headers=own(ANY))
    some = await client.get(path, headers=own(FEW))

    assert everything.status_code == some.status_code == 200
    assert '"half"' in everything.text
    assert '"half"' not in some.text
    assert '"other"' in some.text


async def test_the_repository_index_shows_the_models_of_a_key(
    client: httpx.AsyncClient,
) -> None:
    response = await client.post("/v2/repository/index", json={}, headers=own(FEW))

    assert {model["name"] for model in response.json()} == {"other"}


@pytest.mark.parametrize(
    "path", ["/v1/overview", "/v1/overview/events", "/openapi.json"]
)
async def test_overview_of_all_models_needs_a_key_for_all(
    client: httpx.AsyncClient, path: str
) -> None:
    response = await client.get(path, headers=own(FEW))

    assert response.status_code == 403
    assert "for some models" in response.json()["error"]


async def test_the_document_of_a_model_wants_a_key_for_it(
    client: httpx.AsyncClient,
) -> None:
    mine = await client.get("/openapi.json?model=other", headers=own(FEW))
    foreign = await client.get("/openapi.json?model=half", headers=own(FEW))

    assert (mine.status_code, foreign.status_code) == (200, 403)


async def test_an_unknown_url_wants_a_key_too(client: httpx.AsyncClient) -> None:
    assert (await client.get("/nothing")).status_code == 401
    assert (await client.get("/nothing", headers=own(ANY))).status_code == 404


async def test_a_call_of_the_server_itself_needs_no_key(file: Path) -> None:
    app = make_app(FakeEngine(FakeModel()), api_keys_file=file)
    bridge = Bridge(app)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b'{"instances": [[1.0]]}'}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": PREDICT,
        "raw_path": PREDICT.encode(),
        "query_string": b"",
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", b"22"),
        ],
    }
    await trusted(bridge)(scope, receive, send)
    await bridge(scope, receive, send)

    statuses = [each["status"] for each in sent if "status" in each]
    assert statuses == [200, 401]


@pytest.fixture
async def jobs_client(file: Path, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    settings = load_settings(models="/", api_keys_file=file)
    engine = FakeEngine(FakeModel())
    async with Jobs(partial(SqliteStore, tmp_path / "jobs", Bounds())) as jobs:
        app = create_app(engine, settings, None, jobs)
        async with open_client(app) as opened:
            yield opened


async def submit(client: httpx.AsyncClient, key: str, **headers: str) -> httpx.Response:
    asked = {**own(key), "Prefer": "respond-async", **headers}
    return await client.post(PREDICT, json=BODY, headers=asked)


async def test_a_job_belongs_to_the_key_that_made_it(
    file: Path, jobs_client: httpx.AsyncClient
) -> None:
    made = await submit(jobs_client, ANY)
    assert made.status_code == 202
    job = made.headers["Location"]

    for method, path in [
        ("GET", job),
        ("GET", f"{job}/result"),
        ("GET", f"{job}/events"),
        ("POST", f"{job}/cancel"),
        ("DELETE", job),
    ]:
        response = await jobs_client.request(method, path, headers=own(FEW))
        assert response.status_code == 404, path

    listed = await jobs_client.get("/v1/jobs", headers=own(FEW))
    assert listed.json()["jobs"] == []
    listed = await jobs_client.get("/v1/jobs", headers=own(ANY))
    assert [each["status"] for each in listed.json()["jobs"]] == ["queued"]
    assert (await jobs_client.delete(job, headers=own(ANY))).status_code == 204


async def test_keys_choose_their_idempotency_keys_freely(
    file: Path, jobs_client: httpx.AsyncClient
) -> None:
    headers = {"Idempotency-Key": "mine"}
    first = await submit(jobs_client, ANY, **headers)
    again = await submit(jobs_client, ANY, **headers)
    other = await submit(jobs_client, SLOW, **headers)

    assert first.headers["Location"] == again.headers["Location"]
    assert first.headers["Location"] != other.headers["Location"]


async def test_the_id_of_another_keys_job_is_refused(
    jobs_client: httpx.AsyncClient,
) -> None:
    path = "/v1/jobs/6f1e3f0c-58a5-4d3c-9a3e-0123456789ab"
    body = {"model": "half", **BODY}
    first = await jobs_client.put(path, json=body, headers=own(ANY))
    again = await jobs_client.put(path, json=body, headers=own(ANY))
    other = await jobs_client.put(path, json=body, headers=own(SLOW))
    foreign = await jobs_client.put(path, json=body, headers=own(FEW))

    assert (first.status_code, again.status_code) == (202, 202)
    assert other.status_code == 422
    assert foreign.status_code == 403
