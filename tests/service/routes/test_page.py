"""The page's files over HTTP: negotiated, guarded, complete."""

from __future__ import annotations

import re

import httpx
import pytest

from service.bridge.bridge import Bridge
from service.routes.page import ASSETS, FOLDER, PAGE
from service.web.root_path import RootPath
from tests.support.clients import make_app, make_client
from tests.support.fakes import FakeEngine, FakeModel

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
MAX_BYTES = 200_000
IMPORT = re.compile(r'(?:import|from) ?"\./([^"]+)"')


async def test_root_is_the_page_for_browsers() -> None:
    async with make_client(FakeEngine(FakeModel())) as client:
        response = await client.get("/", headers=BROWSER)
        program = await client.get("/", headers={"Accept": "application/json"})

    assert response.headers["Content-Type"].startswith("text/html")
    assert response.headers["Vary"] == program.headers["Vary"] == "Accept"
    assert program.json()["status"] == "alive"


@pytest.mark.parametrize(("path", "prefix"), [("/", ""), ("/models/half", "../")])
async def test_links_are_relative(path: str, prefix: str) -> None:
    """So any prefix of a proxy will do."""
    async with make_client(FakeEngine(FakeModel())) as client:
        page = await client.get(path, headers=BROWSER)

    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert links
    assert {link.startswith(f"{prefix}page/") for link in links[:-1]} == {True}
    assert links[-1] == f"{prefix}v1/models"
    assert "{root}" not in page.text


async def test_page_below_a_prefix() -> None:
    application = RootPath(Bridge(make_app(FakeEngine(FakeModel()))), "/ml")
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        page = await client.get("/ml/models/half", headers=BROWSER)
        script = await client.get("/ml/page/app.js")

    assert (page.status_code, script.status_code) == (200, 200)


@pytest.mark.parametrize("path", ["/", "/models/half", "/page/app.js"])
async def test_page_may_load_nothing_from_elsewhere(path: str) -> None:
    async with make_client(FakeEngine(FakeModel())) as client:
        response = await client.get(path, headers=BROWSER)

    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_assets_are_served_with_their_types() -> None:
    async with make_client(FakeEngine(FakeModel())) as client:
        answers = {name: await client.get(f"/page/{name}") for name in ASSETS}

    kinds = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
    for name, answer in answers.items():
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith(kinds[name.rpartition(".")[2]])


@pytest.mark.parametrize(
    "name",
    ["index.html", "vendor/update.sh", "vendor/README.md", "..%2ffeed.py", "x"],
)
async def test_only_assets_are_served(name: str) -> None:
    async with make_client(FakeEngine(FakeModel())) as client:
        response = await client.get(f"/page/{name}")

    assert response.status_code == 404


def test_all_that_scripts_import_is_served() -> None:
    scripts = [name for name in ASSETS if name.endswith(".js")]
    wanted = {
        f"vendor/{found}" if name.startswith("vendor/") else found
        for name in scripts
        for found in IMPORT.findall((FOLDER / name).read_text("utf-8"))
    }

    assert wanted
    assert wanted <= ASSETS


def test_scripts_name_no_other_host() -> None:
    own = [name for name in ASSETS if "vendor/" not in name and name != "icon.svg"]
    for name in (*own, PAGE):
        assert "://" not in (FOLDER / name).read_text("utf-8"), name


def test_assets_are_small_and_licensed() -> None:
    assert sum((FOLDER / name).stat().st_size for name in ASSETS) < MAX_BYTES
    licences = {each.name for each in (FOLDER / "vendor").glob("LICENSE.*")}
    assert licences == {"LICENSE.preact", "LICENSE.htm", "LICENSE.uplot"}
