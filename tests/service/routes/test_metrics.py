from __future__ import annotations

import gzip
import math
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import structlog
from flask import Response

from inference import background_calls
from service.app import create_app
from service.routes import metrics
from service.routes.metrics import published
from service.server.connection import Connection
from service.settings.settings import load_settings
from service.telemetry.requests import RequestCounters
from service.telemetry.sharing import FigureFolder
from service.web.context import SERVING
from tests.support.admin import admin_client
from tests.support.clients import make_app, make_client, open_client
from tests.support.fakes import FakeEngine, FakeModel
from tests.support.openmetrics import ACCEPT, parse_openmetrics

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from service.web.application import ConcurrentFlask

AVAILABLE = 'tandem_model_state{model="half",state="AVAILABLE",version="1"}'
PREDICT = "/v1/models/half:predict"
INFER = "/v2/models/half/infer"
ONE = {"instances": [1.0]}
INPUTS = {
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1.0]}],
}


@pytest.fixture(autouse=True)
def no_refusals_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no server of another test's have refused anything."""
    monkeypatch.setattr(Connection, "counters", RequestCounters())


async def test_metrics_are_collected_at_each_request(tmp_path: Path) -> None:
    """TensorFlow Serving's conformance case 40, at a path of our own."""
    async with admin_client(FakeEngine(FakeModel()), tmp_path) as client:
        before = await client.get("/metrics")
        await client.post("/v1/admin/models/half/unload")
        after = await client.get("/metrics")

    assert before.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert f"{AVAILABLE} 1.0\n" in before.text
    assert f"{AVAILABLE} 0.0\n" in after.text


async def test_metrics_need_no_token_and_are_logged_like_probes() -> None:
    with structlog.testing.capture_logs() as lines:
        async with make_client(FakeEngine()) as client:
            response = await client.get("/metrics")

    assert response.status_code == 200
    assert [line["log_level"] for line in lines] in ([], ["debug"])


async def samples(client: httpx.AsyncClient, name: str) -> dict[tuple[str, ...], float]:
    """Return the values of a metric's samples by its labels' values, but zeros."""
    text = (await client.get("/metrics", headers=ACCEPT)).text
    return {
        tuple(sample.labels.values()): sample.value
        for family in parse_openmetrics(text)
        for sample in family.samples
        if sample.name == name and sample.value
    }


@pytest.mark.parametrize(
    ("path", "body", "counted"),
    [
        pytest.param(PREDICT, ONE, ("half", "v1", "200", "2"), id="newest"),
        pytest.param(
            "/v1/models/half/versions/1:predict",
            ONE,
            ("half", "v1", "200", "1"),
            id="version",
        ),
        pytest.param(INFER, INPUTS, ("half", "v2", "200", "2"), id="v2"),
        pytest.param(PREDICT, {}, ("half", "v1", "400", "2"), id="bad body"),
        pytest.param(
            "/v1/models/half/versions/9:predict",
            ONE,
            ("half", "v1", "404", ""),
            id="no version",
        ),
        pytest.param(
            "/v1/models/other:predict", ONE, ("", "v1", "404", ""), id="no model"
        ),
        pytest.param("/v1x", ONE, ("", "other", "404", ""), id="no URL"),
        pytest.param(
            "/v1/models/half:classify",
            {"examples": [{}]},
            ("half", "v1", "400", "2"),
            id="classify",
        ),
    ],
)
async def test_requests_are_counted(
    path: str, body: Any, counted: tuple[str, ...]
) -> None:
    engine = FakeEngine(FakeModel(version=1), FakeModel(version=2))

    async with make_client(engine) as client:
        await client.post(path, json=body)
        found = await samples(client, "tandem_requests_total")
        times = await samples(client, "tandem_request_duration_seconds_count")
        sizes = await samples(client, "tandem_request_body_bytes_sum")

    assert found == {counted: 1}
    model, protocol, status, version = counted
    good = status == "200"
    assert times == ({(model, protocol, version): 1} if good else {})
    assert set(sizes) == set(times)


async def test_probes_and_metadata_are_other_requests() -> None:
    async with make_client(FakeEngine(FakeModel())) as client:
        for path in ("/livez", "/v1/models/half", "/v1/models/half/metadata"):
            assert (await client.get(path)).status_code == 200

        found = await samples(client, "tandem_requests_total")

    assert found == {("", "other", "200", ""): 3}


async def test_the_version_of_another_answer_is_no_label() -> None:
    """The result of a job names the version that its prediction was answered by."""
    app = make_app(FakeEngine(FakeModel()))

    @app.get("/result")
    async def show_result() -> Response:
        return Response("{}", headers={"X-Model-Version": "7"})

    async with open_client(app) as client:
        await client.get("/result")
        found = await samples(client, "tandem_requests_total")

    assert found == {("", "other", "200", ""): 1}


async def test_calls_of_jobs_are_counted_as_theirs() -> None:
    async with make_client(FakeEngine(FakeModel())) as client:
        with background_calls():
            await client.post(PREDICT, json=ONE)

        found = await samples(client, "tandem_requests_total")

    assert found == {("half", "jobs", "200", "1"): 1}


async def test_made_up_names_make_no_series() -> None:
    async with make_client(FakeEngine(FakeModel())) as client:
        before = len((await client.get("/metrics")).text.splitlines())

        for number in range(50):
            await client.post(f"/v1/models/m{number}:predict", json=ONE)
            await client.post(f"/v1/models/half/versions/{number + 5}:predict")
            await client.post(f"/v2/models/m{number}/infer", json=INPUTS)
            await client.request(f"VERB{number}", f"/x{number}")

        after = (await client.get("/metrics")).text.splitlines()

    assert "m7" not in "".join(after)
    # A few for unknown models, an unknown version, and other requests.
    assert len(after) - before < 150


@pytest.mark.parametrize("protocol", ["v1", "v2"])
async def test_refusals_are_counted_by_reason(protocol: str) -> None:
    path, body = (PREDICT, ONE) if protocol == "v1" else (INFER, INPUTS)

    async with make_client(FakeEngine(FakeModel(full=True))) as client:
        assert (await client.post(path, json=body)).status_code == 429
        found = await samples(client, "tandem_requests_total")
        reasons = await samples(client, "tandem_refusals_total")

    assert reasons == {("half", "queue_full"): 1}
    assert found == {("half", protocol, "429", "1"): 1}


async def test_a_body_that_is_too_large_is_a_refusal() -> None:
    async with make_client(FakeEngine(FakeModel()), max_body_bytes=10) as client:
        assert (await client.post(PREDICT, json=ONE)).status_code == 413
        reasons = await samples(client, "tandem_refusals_total")

    assert reasons == {("half", "body_too_large"): 1}


async def test_a_client_that_left_is_counted() -> None:
    model = FakeModel(gate=anyio.Event())

    async with make_client(FakeEngine(model)) as client:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: client.post(PREDICT, json=ONE))
                await model.started.wait()
                scope.cancel()

        found = await samples(client, "tandem_requests_total")

    assert found == {("half", "v1", "499", "1"): 1}


async def test_metrics_are_compressed_for_clients_that_want_it() -> None:
    async with make_client(FakeEngine(FakeModel())) as client:
        plain = await client.get("/metrics", headers={"Accept-Encoding": "identity"})
        headers = {"Accept-Encoding": "gzip"}
        async with client.stream("GET", "/metrics", headers=headers) as response:
            raw = b"".join([piece async for piece in response.aiter_raw()])

    assert "Content-Encoding" not in plain.headers
    assert response.headers["Content-Encoding"] == "gzip"
    assert {"Accept", "Accept-Encoding"} <= {*response.headers["Vary"].split(", ")}
    assert gzip.decompress(raw).startswith(b"# HELP tandem_requests_total ")
    assert len(raw) < len(plain.content) / 3


def sharing(folder: Path, *models: FakeModel) -> ConcurrentFlask:
    settings = load_settings(models="/")
    place = FigureFolder(folder)
    return create_app(FakeEngine(*models), settings, figure_folder=place)


async def test_processes_add_up_whichever_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # They publish at the start, when they are asked, and at the end.
    monkeypatch.setattr(metrics, "PUBLISH_SECONDS", math.inf)
    first, second = (sharing(tmp_path, FakeModel()) for _ in range(2))

    async with published(first.extensions[SERVING]), open_client(first) as client:
        async with published(second.extensions[SERVING]), open_client(second) as other:
            await anyio.wait_all_tasks_blocked()
            await client.post(PREDICT, json=ONE)
            await other.post(PREDICT, json=ONE)
            seen = []
            for each in (client, other, client):
                found = await samples(each, "tandem_requests_total")
                seen.append(found["half", "v1", "200", "1"])

            workers = await samples(client, "tandem_workers")
            # Whatever is counted after the last look is published at the end.
            await other.post(PREDICT, json=ONE)

        found = await samples(client, "tandem_requests_total")
        left = await samples(client, "tandem_workers")

    # The second hasn't published before it is asked.
    assert seen == [1, 2, 2]
    assert (workers, left) == ({(): 2}, {(): 1})
    assert found["half", "v1", "200", "1"] == 3


async def test_figures_that_can_not_be_shared_are_not_given(tmp_path: Path) -> None:
    app = sharing(tmp_path / "folder", FakeModel())

    async with published(app.extensions[SERVING]), open_client(app) as client:
        (tmp_path / "folder").rename(tmp_path / "elsewhere")
        response = await client.get("/metrics")
        answered = await client.post(PREDICT, json=ONE)

    assert response.status_code == 503
    assert "--metrics-dir" in response.json()["error"]
    assert answered.status_code == 200


async def test_a_folder_that_can_not_be_opened_stops_no_server(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    app = sharing(tmp_path / "file", FakeModel())

    async with published(app.extensions[SERVING]), open_client(app) as client:
        response = await client.get("/metrics")
        assert (await client.post(PREDICT, json=ONE)).status_code == 200

    assert response.status_code == 503


async def test_a_server_of_one_process_publishes_nothing() -> None:
    app = make_app(FakeEngine(FakeModel()))

    async with published(app.extensions[SERVING]), open_client(app) as client:
        assert await samples(client, "tandem_workers") == {(): 1}
