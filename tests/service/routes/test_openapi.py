"""The document and its page over HTTP, without another host."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx
import pytest

from inference import ModelState
from service.app import create_app
from service.bridge.bridge import Bridge
from service.jobs.bounds import Bounds
from service.jobs.jobs import Jobs, JobsConfig
from service.jobs.sqlite import SqliteStore
from service.openapi import cache
from service.openapi.document import openapi_document
from service.routes.openapi import ASSETS, FOLDER, PAGE
from service.settings.settings import load_settings
from service.web.root_path import RootPath
from service.web.routing import list_urls
from tests.support.clients import make_app, make_client, open_client
from tests.support.fakes import FakeEngine, FakeModel, X, tensor
from tests.support.openapi import sampled

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

UNDESCRIBED = {
    *("GET /docs", "GET /docs/{file}", "GET /models/{name}", "GET /page/{file}"),
    "GET /v2/",
}
"""Pages for people, and a second spelling."""

IDENTITY = {"Accept-Encoding": "identity"}
MAX_ASSET_BYTES = 2 * 2**20
CLASSES = sampled(tensor("x", shape=(None, 3)), outputs=[tensor("y", shape=(None, 1))])
"""It takes each verb."""


async def test_document_of_the_models() -> None:
    old, new = FakeModel(labels=("stable",)), FakeModel(version=2)
    async with make_client(FakeEngine(old, new)) as client:
        response = await client.get("/openapi.json")

    document = response.json()
    assert document["openapi"] == "3.1.0"
    assert document["servers"] == [{"url": "/"}]
    assert {path for path in document["paths"] if ":predict" in path} == {
        "/v1/models/half:predict",
        "/v1/models/half/versions/1:predict",
        "/v1/models/half/versions/2:predict",
        "/v1/models/half/labels/stable:predict",
    }


async def test_every_url_is_described(tmp_path: Path) -> None:
    """A route that is added must be added to the document."""
    model = FakeModel(version=1, labels=("stable",), signatures=(CLASSES,))
    newer = FakeModel(version=2, signatures=(CLASSES,))
    store = SqliteStore(tmp_path, Bounds(jobs=1, nbytes=1))
    jobs = Jobs(lambda: store, JobsConfig(queue_seconds=1, result_seconds=1))
    settings = load_settings(models="/", admin_token_file=written_token(tmp_path))
    app = create_app(FakeEngine(model, newer), settings, jobs=jobs)
    async with open_client(app) as client:
        document = (await client.get("/openapi.json")).json()

    places = {"/half": "/{name}", "/1": "/{version}", "/stable": "/{label}"}
    described = set()
    for path, item in document["paths"].items():
        for of, place in places.items():
            path = re.sub(rf"{of}\b", place, path)

        described |= {
            f"{method.upper()} {path}" for method in item if method != "parameters"
        }

    urls = {
        re.sub("<(.*?)>", r"{\1}", line) for line in list_urls(app.url_map, admin=True)
    }
    assert urls - described == UNDESCRIBED
    assert {line for line in described - urls if "/versions/2" not in line} == set()


async def test_admin_calls_are_described_where_there_is_a_token(tmp_path: Path) -> None:
    token = written_token(tmp_path)
    found = []
    for flags in ({}, {"admin_token_file": token}):
        async with make_client(FakeEngine(FakeModel()), **flags) as client:
            document = (await client.get("/openapi.json")).json()
            found.append("/v1/admin/rescan" in document["paths"])

    assert found == [False, True]


def written_token(folder: Path) -> Path:
    token = folder / "token"
    token.write_text("t" * 32)
    token.chmod(0o600)
    return token


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The documents that are made."""
    found: list[Any] = []

    def count(described: Any) -> dict[str, Any]:
        found.append(described)
        return openapi_document(described)

    monkeypatch.setattr(cache, "openapi_document", count)
    return found


async def test_document_is_made_once_while_the_models_stay(made: list[Any]) -> None:
    model = FakeModel()
    async with make_client(FakeEngine(model)) as client:
        first = await client.get("/openapi.json", headers=IDENTITY)
        tag = first.headers["ETag"]
        zipped = await client.get("/openapi.json")
        kept = await client.get("/openapi.json", headers={"If-None-Match": tag})
        assert len(made) == 1

        model.state = ModelState.END
        other = await client.get("/openapi.json", headers={"If-None-Match": tag})

    assert zipped.headers["Content-Encoding"] == "gzip"
    assert zipped.content == first.content
    assert (kept.status_code, kept.content) == (304, b"")
    assert other.status_code == 200
    assert other.headers["ETag"] != tag
    assert len(made) == 2


async def test_document_of_one_model(made: list[Any]) -> None:
    models = [FakeModel(), FakeModel(name="other")]
    async with make_client(FakeEngine(*models)) as client:
        one = await client.get("/openapi.json", params={"model": "other"})
        unknown = await client.get("/openapi.json", params={"model": "third"})
        await client.get("/openapi.json")
        await client.get("/openapi.json", params={"model": "half"})
        await client.get("/openapi.json")

    paths = one.json()["paths"]
    assert "/v1/models/other:predict" in paths
    assert "/v1/models/half:predict" not in paths
    assert unknown.status_code == 404
    # It doesn't take the place of that of all models.
    assert len(made) == 3


async def test_hundreds_of_models_are_one_short_answer() -> None:
    models = [
        FakeModel(name=f"m{number}", signatures=(X,), labels=("stable",))
        for number in range(300)
    ]
    async with make_client(FakeEngine(*models)) as client:
        response = await client.get("/openapi.json")

    document = response.json()
    assert len([path for path in document["paths"] if ":predict" in path]) == 600
    assert response.num_bytes_downloaded < 2**20


async def test_the_prefix_of_a_proxy_is_the_servers_url() -> None:
    application = RootPath(Bridge(make_app(FakeEngine(FakeModel()))), "/ml")
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        document = (await client.get("/ml/openapi.json")).json()
        page = await client.get("/ml/docs")

    assert document["servers"] == [{"url": "/ml"}]
    assert page.status_code == 200


async def test_page_brings_its_own_assets() -> None:
    async with make_client(FakeEngine(FakeModel())) as client:
        page = await client.get("/docs")
        asked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        answers = {url: await client.get(f"/{url}") for url in asked if ":" not in url}

    assert set(answers) == {"openapi.json", *(f"docs/{name}" for name in ASSETS)}
    assert {answer.status_code for answer in answers.values()} == {200}
    # Relative, so that any prefix will do; the icon is in the page.
    assert [url for url in asked if url[0] == "/" or ":" in url] == ["data:,"]
    kinds = {url: answer.headers["Content-Type"] for url, answer in answers.items()}
    assert kinds["docs/swagger-ui.css"].startswith("text/css")
    assert kinds["docs/start.js"].startswith("text/javascript")


@pytest.mark.parametrize("path", ["/docs", "/docs/start.js"])
async def test_page_may_load_nothing_from_elsewhere(path: str) -> None:
    async with make_client(FakeEngine(FakeModel())) as client:
        response = await client.get(path)

    policy = dict(
        each.split(" ", 1)
        for each in response.headers["Content-Security-Policy"].split("; ")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["connect-src"] == "'self'"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("name", ["update.sh", "index.html", "..%2fdocument.py", "x"])
async def test_only_assets_are_served(name: str) -> None:
    async with make_client(FakeEngine(FakeModel())) as client:
        response = await client.get(f"/docs/{name}")

    assert response.status_code == 404
    assert response.json().keys() == {"error"}


def test_assets_are_small_and_licensed() -> None:
    assert sum((FOLDER / name).stat().st_size for name in ASSETS) < MAX_ASSET_BYTES
    assert "Apache License" in (FOLDER / "LICENSE").read_text()
    assert (FOLDER / PAGE).is_file()
