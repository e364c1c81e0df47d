"""The page in a real browser, with a server whose models come, go and fail."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from tests.e2e.sites import TOKEN
from tests.support.tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, FilePayload, Locator, Page

    from tests.e2e.sites import Site

PATIENCE_MS = 60_000
SEVEN = ((0.2, 0.2), (0.8, 0.2), (0.8, 0.25), (0.5, 0.8))
WIDTHS = (360, 1000, 1100, 1280, 2560)

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = find_tool("chromium", "chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def drawn(living: Site) -> str:
    living.bring("halves", "drawn.pb")
    return f"{living.server.url}/models/drawn"


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


@pytest.fixture
def broken(living: Site) -> Iterator[str]:
    path = living.folder / "garbled.h5"
    path.write_bytes(b"no model at all")
    yield "garbled"
    path.unlink()


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=name))


def test_models_come_and_go_while_it_is_open(page: Page, living: Site) -> None:
    page.goto(living.server.url)
    expect(row(page, "always")).to_contain_text("available")

    path = living.bring("two", "comer.pb")
    expect(row(page, "comer")).to_contain_text("available")
    expect(row(page, "comer")).to_contain_text("float32")

    path.unlink()
    expect(row(page, "comer")).to_have_count(0)


def test_a_failed_model_says_why(page: Page, living: Site, broken: str) -> None:
    page.goto(living.server.url)
    expect(row(page, broken)).to_contain_text("failed")
    expect(page.get_by_text("is neither HDF5 nor a .keras zip")).to_be_visible()

    page.get_by_label("State").select_option("failed")
    expect(row(page, broken)).to_have_count(1)
    expect(row(page, "always")).to_have_count(0)


def test_search_leaves_what_it_names(page: Page, living: Site) -> None:
    page.goto(living.server.url)
    page.get_by_label("Search models").fill("ALW float32")
    expect(row(page, "always")).to_have_count(1)
    page.get_by_label("Search models").fill("nothing-like-it")
    expect(page.get_by_text("No model is like that.")).to_be_visible()


def draw(page: Page) -> None:
    pad = page.locator(".pad canvas")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    assert box is not None
    (x, y), *others = [
        (box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in SEVEN
    ]
    page.mouse.move(x, y)
    page.mouse.down()
    for x, y in others:
        page.mouse.move(x, y, steps=5)

    page.mouse.up()


def test_a_drawing_is_answered_in_pictures(page: Page, drawn: str) -> None:
    page.goto(drawn)
    draw(page)
    page.get_by_role("button", name="Predict").click()

    # A seven has most of its ink above.
    best = page.locator(".bars .best")
    expect(best).to_be_visible()
    assert re.match(r"0\d", best.inner_text().replace("\n", ""))
    heat = page.locator("canvas.heat")
    expect(heat).to_have_attribute(
        "aria-label", re.compile("copy: 8 × 8 values, 0 to 16")
    )
    expect(page.get_by_text("compute")).to_be_visible()


def test_an_image_is_answered(page: Page, living: Site) -> None:
    living.bring("colours", "coloured.pb")
    file = io.BytesIO()
    Image.new("RGB", (9, 5), (10, 200, 30)).save(file, "PNG")
    upload: FilePayload = {
        "name": "green.png",
        "mimeType": "image/png",
        "buffer": file.getvalue(),
    }

    page.goto(living.server.url)
    expect(row(page, "coloured")).to_contain_text("available")
    page.goto(f"{living.server.url}/models/coloured")
    expect(page.get_by_role("button", name="Predict")).to_be_disabled()
    page.get_by_label("An image").set_input_files(upload)
    expect(page.get_by_alt_text("green.png")).to_be_visible()
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".bars .best")).to_contain_text(f"{200 / 255:.4f}")


def test_an_input_that_is_refused_says_why(page: Page, living: Site) -> None:
    page.goto(f"{living.server.url}/models/always")
    page.get_by_text("Body", exact=True).click()
    page.get_by_label("JSON that is sent").fill('{"instances": ["four"]}')
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".answer")).to_contain_text("Refused: 400")
    expect(page.locator(".answer .error")).to_contain_text("four")


def test_numbers_are_checked_before_they_are_sent(page: Page, living: Site) -> None:
    page.goto(f"{living.server.url}/models/always")
    page.get_by_label("A number").fill("four")
    expect(page.get_by_role("button", name="Predict")).to_be_disabled()
    page.get_by_label("A number").fill("4")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".single strong")).to_have_text("4")


def test_an_input_called_as_a_method_of_lists_has_its_example(
    page: Page, living: Site
) -> None:
    living.bring("pairs", "pairs.pb")
    page.goto(living.server.url)
    expect(row(page, "pairs")).to_contain_text("available")
    page.goto(f"{living.server.url}/models/pairs")
    expect(page.get_by_label("2 numbers")).to_have_value(re.compile(r"^[\d., -]+$"))
    page.get_by_label("2 numbers").fill("4, 5")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".single strong")).to_have_text("9")


def test_an_act_asks_first_and_wants_the_token(page: Page, living: Site) -> None:
    page.goto(f"{living.server.url}/models/drawn")
    state = page.locator(".title .state")
    page.get_by_role("button", name="Unload").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Cancel").click()
    expect(state).to_have_text("available")

    page.get_by_role("button", name="Unload").click()
    dialog.get_by_label("Admin token").fill("the-wrong-token-it-is")
    dialog.get_by_role("button", name="Unload").click()
    expect(dialog.get_by_role("alert")).to_contain_text("token")
    expect(state).to_have_text("available")

    dialog.get_by_label("Admin token").fill(TOKEN)
    dialog.get_by_role("button", name="Unload").click()
    expect(state).to_have_text("unloaded")

    page.get_by_role("button", name="Load").click()
    # It was right before, and isn't asked for again.
    expect(dialog.get_by_label("Admin token")).to_have_count(0)
    dialog.get_by_role("button", name="Load").click()
    expect(state).to_have_text("available")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(
    browser: Browser,
    living: Site,
    drawn: str,
    broken: str,
    scheme: Literal["light", "dark"],
) -> None:
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    for url, ready in ((living.server.url, "always"), (drawn, "Report")):
        page.goto(url)
        expect(page.get_by_text(ready, exact=True).first).to_be_visible()
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()

    context.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_screen(
    page: Page, living: Site, drawn: str, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    for url in (living.server.url, drawn):
        page.goto(url)
        expect(page.locator("h1")).to_be_attached()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for box in page.locator(".scroll").all():
            assert box.evaluate("box => box.scrollWidth <= box.clientWidth")


def test_snippets_run(page: Page, drawn: str) -> None:
    page.goto(drawn)
    outputs = {}
    for name, command in (("curl", ["bash", "-c"]), ("Python", [sys.executable, "-c"])):
        page.get_by_role("button", name=name).click()
        text = page.locator("[aria-label=Code] pre").inner_text()
        done = subprocess.run([*command, text], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        outputs[name] = done.stdout

    assert all("ink" in each for each in outputs.values())
