"""The page of a server that wants API keys, and what it shows of jobs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from service.auth.keys import key_line
from tests.e2e.page.models import serve
from tests.e2e.sites import site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.e2e.sites import Site

ANY, FEW = "key-for-any-model-1", "key-for-few-models"
MANY_ROWS = 2_000_000
"""More than are done before somebody cancels the job."""


@pytest.fixture(scope="module")
def keyed(
    stock: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A server that runs one job at a time, and has keys for all and for one model."""
    root = tmp_path_factory.mktemp("keyed")
    keys = root / "keys"
    keys.write_text(f"{key_line('any', ANY)}\n{key_line('few', FEW, ['open'])}\n")
    keys.chmod(0o600)
    flags = ["--api-keys-file", str(keys), "--data-dir", str(root / "jobs")]

    with site(root, stock, cache, *flags, "--job-concurrency", "1") as keyed:
        key = {"X-API-Key": ANY}
        serve(keyed, "two", "open", **key)
        serve(keyed, "three", "shut", **key)
        yield keyed


def enter(page: Page, key: str) -> None:
    page.get_by_role("textbox", name="API key").fill(key)
    page.get_by_role("button", name="Use the key").click()


def predict(page: Page, number: str, answer: str) -> None:
    page.get_by_label("A number").fill(number)
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".single strong")).to_have_text(answer)


def test_nothing_shows_without_a_key(page: Page, keyed: Site) -> None:
    page.goto(f"{keyed.server.url}/docs")
    expect(page.get_by_text("Failed to load API definition")).to_be_visible()
    page.goto(f"{keyed.server.url}/models/open")
    expect(page.get_by_role("heading")).to_have_text("An API key is needed")
    expect(page.get_by_role("alert")).to_be_empty()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    enter(page, "not-one-of-the-keys")
    expect(page.get_by_role("alert")).to_contain_text("isn't one of the server's")
    enter(page, "clé")
    expect(page.get_by_role("alert")).to_contain_text("plain letters")


def test_a_key_opens_the_page_until_it_is_forgotten(page: Page, keyed: Site) -> None:
    page.goto(keyed.server.url)
    enter(page, ANY)
    expect(page.get_by_role("link", name="shut")).to_be_visible()
    expect(page.get_by_text("live", exact=True)).to_be_visible()

    # It holds for other pages in this tab, the API's document too, but not for others.
    page.get_by_role("link", name="shut").click()
    predict(page, "4", "12")
    expect(page.locator("[aria-label=Code] pre")).to_contain_text("$TANDEM_API_KEY")
    other = page.context.new_page()
    other.goto(keyed.server.url)
    expect(other.get_by_role("heading")).to_have_text("An API key is needed")
    page.goto(f"{keyed.server.url}/docs")
    expect(page.get_by_text("/v1/models/shut:predict", exact=True)).to_be_visible()

    page.goto(keyed.server.url)
    page.get_by_role("button", name="Forget the key").click()
    expect(page.get_by_role("heading")).to_have_text("An API key is needed")
    assert page.evaluate("Object.keys({...sessionStorage, ...localStorage})") == []


def test_a_key_for_one_model_shows_that_one(page: Page, keyed: Site) -> None:
    page.goto(keyed.server.url)
    enter(page, FEW)
    expect(page.get_by_text("No live figures: the API key few")).to_be_visible()
    expect(page.get_by_role("link", name="shut")).to_have_count(0)
    page.get_by_role("link", name="open").click()
    predict(page, "4", "8")


def submit(keyed: Site, rows: int) -> None:
    url = f"{keyed.server.url}/v1/models/open:predict"
    headers = {"Prefer": "respond-async", "Content-Type": "application/x-ndjson"}
    response = httpx.post(
        url, content=b"1\n" * rows, headers={**headers, "X-API-Key": ANY}
    )
    assert response.status_code == 202, response.text


def test_jobs_show_how_far_they_are_and_can_be_canceled(
    page: Page, keyed: Site
) -> None:
    page.goto(keyed.server.url)
    enter(page, ANY)
    expect(page.get_by_role("link", name="open")).to_be_visible()
    submit(keyed, MANY_ROWS)
    running = page.get_by_role("listitem").filter(has_text="running")
    expect(running).to_contain_text(re.compile(r"[1-9]\d* of 2000000 rows"))
    progress = running.get_by_role("progressbar")
    expect(progress).to_have_attribute("max", str(MANY_ROWS))

    # Another one waits for it, as the server runs one at a time.
    submit(keyed, 3)
    queued = page.get_by_role("listitem").filter(has_text="queued")
    expect(queued).to_contain_text("0 of 3 rows")

    running.get_by_role("button", name="Cancel job").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Back").click()
    expect(running).to_have_count(1)
    running.get_by_role("button", name="Cancel job").click()
    dialog.get_by_role("button", name="Cancel the job").click()
    expect(page.get_by_text("1 succeeded · 1 canceled")).to_be_visible()
    expect(page.get_by_role("progressbar")).to_have_count(0)
