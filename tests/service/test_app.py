from __future__ import annotations

import inspect

import pytest

from tests.support.clients import make_app, make_client
from tests.support.fakes import FakeEngine

READS_FILES = {"openapi.show_page", "openapi.show_asset", "page.show_asset"}
"""Views without the engine, which run in threads."""


def test_views_are_asynchronous() -> None:
    app = make_app(FakeEngine())
    plain = {
        endpoint
        for endpoint, view in app.view_functions.items()
        if not inspect.iscoroutinefunction(view)
    }

    assert plain == READS_FILES


@pytest.mark.parametrize("path", ["/v1//models", "/v1/models/", "/static/x"])
async def test_wrong_urls_are_not_redirected(path: str) -> None:
    async with make_client(FakeEngine()) as client:
        response = await client.get(path)

    # TensorFlow Serving's 400 below its own prefix.
    assert response.status_code == (400 if path.startswith("/v1") else 404)
    assert f"There is no {path} here" in response.json()["error"]


async def test_applications_are_independent() -> None:
    async with make_client(FakeEngine()) as one, make_client(FakeEngine()) as two:
        assert (await one.get("/livez")).status_code == 200
        assert (await two.get("/livez")).status_code == 200
