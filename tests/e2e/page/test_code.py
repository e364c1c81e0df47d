"""The code that the page shows is run as it stands, in each of its languages."""

from __future__ import annotations

import ast
import io
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.e2e.page.models import serve

if TYPE_CHECKING:
    from playwright.sync_api import FilePayload, Page

    from tests.e2e.sites import Site

LANGUAGES = ("curl", "Python", "JavaScript")
MODELS = ("halves", "colours", "words", "identity", "pairs")
"""A drawing, an image, text, inputs of all dtypes by name, and rows of numbers."""


@pytest.mark.parametrize("kind", MODELS)
def test_code_runs_and_answers_alike(page: Page, living: Site, kind: str) -> None:
    page.goto(serve(living, kind, f"{kind}_code"))
    answers = [run(page, language) for language in LANGUAGES]

    assert answers[0].keys() <= {"predictions", "outputs"}
    assert answers == [answers[0]] * len(LANGUAGES)


def test_code_of_a_large_image_runs(page: Page, living: Site) -> None:
    """It is longer than a word on a command line may be."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    Image.fromarray(noise).save(file, "PNG")
    upload: FilePayload = {
        "name": "noise.png",
        "mimeType": "image/png",
        "buffer": file.getvalue(),
    }
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])

    page.goto(serve(living, "colours", "large_image"))
    page.get_by_label("An image").set_input_files(upload)
    expect(page.get_by_text("characters in all: copy them")).to_be_visible()

    assert run(page, "curl", copied=True).keys() == {"predictions"}


def run(page: Page, language: str, *, copied: bool = False) -> dict[str, Any]:
    """Run the code in a language, as it is shown or copied; return the answer."""
    page.get_by_role("button", name=language).click()
    if copied:
        page.get_by_role("button", name="Copy").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        text = page.evaluate("navigator.clipboard.readText()")
    else:
        text = page.locator("[aria-label=Code] pre").text_content()

    document: dict[str, Any]
    if language == "JavaScript":
        with page.expect_console_message() as told:
            page.evaluate(text)

        document = json.loads(told.value.text)
    elif language == "Python":
        document = ast.literal_eval(output([sys.executable, "-"], text))
    else:
        document = json.loads(output(["bash"], text))

    return document


def output(command: list[str], script: str) -> str:
    done = subprocess.run(command, input=script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
