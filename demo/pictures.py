"""Take the pictures of the page: `python -m demo.pictures MODELS FOLDER`.

MODELS has the demo models; Playwright and Chromium must be installed.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

BUSY_SECONDS = 90.0
"""Time for the charts to have something to show."""

DIGIT = Path(__file__).parent / "digit.json"
STROKES = ((0.3, 0.3), (0.5, 0.17), (0.68, 0.32), (0.3, 0.83), (0.75, 0.83))
"""A two, in parts of the pad's sides."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo.pictures")
    parser.add_argument("models", type=Path, help="a folder with the demo models")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    arguments = parser.parse_args()

    with serving(arguments.models) as url, calling(url):
        time.sleep(BUSY_SECONDS)
        take(url, arguments.folder)

    return 0


@contextmanager
def serving(models: Path) -> Iterator[str]:
    """Serve the models on a free port; yield the server's URL once it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "service.cli.main", "serve", str(models)]
    server = subprocess.Popen([*command, "--port", str(port), "--no-screen"])
    try:
        while not is_ready(url):
            time.sleep(0.2)

        yield url
    finally:
        server.terminate()
        server.wait()


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def calling(url: str) -> Iterator[None]:
    """Send digits to two models while the block runs, now more and now fewer."""
    done = threading.Event()
    body = json.loads(DIGIT.read_text("utf-8"))

    def call(model: str) -> None:
        chance = random.Random(model)
        with httpx.Client(base_url=url) as client:
            while not done.wait(chance.uniform(0.001, 0.02 + time.time() % 40 / 1000)):
                client.post(f"/v1/models/{model}:predict", json=body)

    models = ("digits", "digits", "digits_cnn", "digits_cnn", "digits_cnn")
    threads = [threading.Thread(target=call, args=(each,)) for each in models]
    for thread in threads:
        thread.start()

    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


def take(url: str, folder: Path) -> None:
    """Take a picture of all models, and one of a digit that is recognised."""
    with sync_playwright() as playwright:
        path = shutil.which("chromium")
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 640})
        page.goto(url)
        page.get_by_role("link", name="wine").wait_for()
        page.wait_for_timeout(2500)
        page.screenshot(path=folder / "page.png")

        page.set_viewport_size({"width": 1280, "height": 880})
        page.goto(f"{url}/models/digits_cnn")
        draw(page)
        page.get_by_role("button", name="Predict").click()
        page.locator(".bars .best").wait_for()
        page.screenshot(path=folder / "page-model.png")
        browser.close()


def draw(page: Page) -> None:
    box = page.locator(".pad canvas").bounding_box()
    assert box is not None
    for number, (x, y) in enumerate(STROKES):
        place = box["x"] + x * box["width"], box["y"] + y * box["height"]
        page.mouse.move(*place, steps=8)
        if number == 0:
            page.mouse.down()

    page.mouse.up()


if __name__ == "__main__":
    sys.exit(main())
