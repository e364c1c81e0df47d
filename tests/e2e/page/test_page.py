"""The page in a real browser, with a server whose models come, go and fail."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect

from tests.e2e.page.models import serve
from tests.e2e.sites import TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, FilePayload, Locator, Page

    from tests.e2e.sites import Site

SEVEN = ((0.2, 0.2), (0.8, 0.2), (0.8, 0.25), (0.5, 0.8))
WIDTHS = (360, 1000, 1100, 1280, 2560)


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


def test_a_hidden_tab_follows_nothing(page: Page, living: Site) -> None:
    """Browsers open six connections to a server: the seventh tab would hang."""
    change = """hidden => {
        Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    url = re.compile("/v1/overview/events$")
    page.goto(living.server.url)
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    with page.expect_event("requestfailed", lambda each: bool(url.search(each.url))):
        page.evaluate(change, True)

    with page.expect_request(url):
        page.evaluate(change, False)

    expect(page.get_by_text("live", exact=True)).to_be_visible()


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
    page.get_by_label("Search models").fill("available always")
    page.reload()
    # The URL has it.
    expect(page.get_by_label("Search models")).to_have_value("available always")
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


def test_keys_draw_as_a_pointer_does(page: Page, drawn: str) -> None:
    page.goto(drawn)
    pad = page.get_by_role("application", name="A pad to draw on, 8 × 8")
    expect(pad).to_have_accessible_description(re.compile("arrows move, space"))
    pad.focus()
    # A bar above, and a stem to the left of it that hangs below: most ink is above.
    for keys in ("ArrowUp", "ArrowUp", " ", *(6 * ["ArrowRight"]), " "):
        page.keyboard.press(keys)

    expect(page.get_by_text("Pen up, column 15, row 7 of 16")).to_be_attached()
    paper, nib = pad.bounding_box(), page.locator(".nib").bounding_box()
    assert paper is not None
    assert nib is not None
    step = paper["width"] / 16
    assert nib["x"] + nib["width"] / 2 == pytest.approx(paper["x"] + 14.5 * step, abs=2)
    assert nib["y"] + nib["height"] / 2 == pytest.approx(paper["y"] + 6.5 * step, abs=2)
    for key in (*(6 * ["ArrowLeft"]), " ", "ArrowDown", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)

    expect(page.get_by_text("Pen down, column 9, row 10 of 16")).to_be_attached()
    page.get_by_role("button", name="Predict").click()
    best = page.locator(".bars .best")
    expect(best).to_be_visible()
    assert re.match(r"0[1-9]", best.inner_text().replace("\n", ""))

    page.get_by_role("button", name="Clear").click()
    page.get_by_role("button", name="Predict").click()
    expect(best).to_have_text(re.compile(r"0\s*$"))


def test_an_image_is_answered(page: Page, living: Site) -> None:
    file = io.BytesIO()
    Image.new("RGB", (9, 5), (10, 200, 30)).save(file, "PNG")
    upload: FilePayload = {
        "name": "green.png",
        "mimeType": "image/png",
        "buffer": file.getvalue(),
    }

    page.goto(serve(living, "colours", "coloured"))
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


def test_each_row_of_an_answer_is_shown(page: Page, living: Site) -> None:
    page.goto(f"{living.server.url}/models/always")
    page.get_by_text("Body", exact=True).click()
    page.get_by_label("JSON that is sent").fill('{"instances": [2, 3]}')
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_label("Row 1").locator("strong")).to_have_text("2")
    expect(page.get_by_label("Row 2").locator("strong")).to_have_text("3")


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
    page.goto(serve(living, "pairs", "pairs"))
    expect(page.get_by_label("2 numbers")).to_have_value(re.compile(r"^[\d., -]+$"))
    page.get_by_label("2 numbers").fill("4, 5")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".single strong")).to_have_text("9")


def test_an_answer_without_a_picture_shows_its_json(page: Page, living: Site) -> None:
    page.goto(serve(living, "words", "worded"))
    page.get_by_label("Value as JSON").fill('["one", "two"]')
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".answer pre")).to_contain_text('"two"')


def test_an_act_asks_first_and_wants_the_token(page: Page, living: Site) -> None:
    page.goto(f"{living.server.url}/models/drawn")
    state = page.locator(".title .state")
    page.get_by_role("button", name="Unload").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Cancel").click()
    expect(state).to_have_text("available")

    unload = page.get_by_role("button", name="Unload")
    unload.press("Enter")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(unload).to_be_focused()

    unload.click()
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


def act(page: Page, title: str, field: str = "", value: str = "") -> None:
    """Let an operator's act happen, with the token if it is asked for."""
    page.get_by_role("button", name=title, exact=True).click()
    dialog = page.get_by_role("dialog")
    if field:
        dialog.get_by_label(field).fill(value)

    if dialog.get_by_label("Admin token").count():
        dialog.get_by_label("Admin token").fill(TOKEN)

    dialog.get_by_role("button", name=title, exact=True).click()
    expect(page.get_by_text(f"{title}: done.")).to_be_visible()


def test_calls_at_a_time_and_labels_are_changed(page: Page, living: Site) -> None:
    page.goto(serve(living, "three", "worked"))
    expect(page.locator(".title .state")).to_have_text("available")
    told = page.get_by_text("Calls at a time", exact=True).locator("xpath=../dd")

    page.get_by_role("button", name="Set concurrency").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Calls at a time").fill("7")
    dialog.get_by_label("Admin token").fill("the-wrong-token-it-is")
    dialog.get_by_role("button", name="Set concurrency").click()
    expect(dialog.get_by_role("alert")).to_contain_text("token")
    expect(told).not_to_have_text("7")
    dialog.get_by_role("button", name="Cancel").click()

    act(page, "Set concurrency", "Calls at a time", "7")
    expect(told).to_have_text("7")

    expect(page.get_by_role("button", name="Remove label")).to_have_count(0)
    act(page, "Set label", "Label", "canary")
    chip = page.locator(".title .chip.label")
    expect(chip).to_have_text("canary")
    act(page, "Remove label")
    expect(chip).to_have_count(0)


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
