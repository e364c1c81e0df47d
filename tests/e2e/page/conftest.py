"""One browser for all tests of the page, and pages that may have no errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.e2e.page.models import serve, wait_for
from tests.support.tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from tests.e2e.sites import Site

PATIENCE_MS = 60_000

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = find_tool("chromium", "chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page on which anything that the console calls an error fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console",
        lambda told: errors.append(told.text) if told.type == "error" else None,
    )
    yield page
    context.close()
    # A refused call is one that a test asked for.
    assert [each for each in errors if "server responded with" not in each] == []


@pytest.fixture(scope="package")
def living(living: Site) -> Site:
    """The server, once it answers: a page isn't asked for twice."""
    wait_for(living, "always")
    return living


@pytest.fixture(scope="module")
def drawn(living: Site) -> str:
    """The URL of the page of a model of drawings."""
    return serve(living, "halves", "drawn")
