from __future__ import annotations

from typing import Any

import httpx
import pytest

from service.bridge.bridge import Bridge
from service.web.cors import CrossOrigin
from tests.support.clients import make_app
from tests.support.fakes import FakeEngine, FakeModel

PREDICT = "/v1/models/half:predict"
PAGE = "https://example.org"


async def ask(origins: tuple[str, ...], method: str, **sent: Any) -> httpx.Response:
    application = CrossOrigin(Bridge(make_app(FakeEngine(FakeModel()))), origins)
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        return await client.request(method, PREDICT, **sent)


@pytest.mark.parametrize(
    ("origins", "origin", "allowed", "vary"),
    [
        pytest.param((PAGE,), PAGE, PAGE, "Origin", id="listed"),
        pytest.param(("http://a", PAGE), PAGE, PAGE, "Origin", id="one of several"),
        pytest.param((PAGE,), "https://evil.org", None, "Origin", id="another"),
        pytest.param((PAGE,), f"{PAGE}.evil.org", None, "Origin", id="a longer one"),
        pytest.param((PAGE,), None, None, "Origin", id="none"),
        pytest.param(("*",), "https://evil.org", "*", None, id="any"),
        pytest.param(("*",), None, None, None, id="any, none sent"),
    ],
)
async def test_pages_of_listed_origins_may_read_answers(
    origins: tuple[str, ...], origin: str | None, allowed: str | None, vary: str | None
) -> None:
    headers = {} if origin is None else {"Origin": origin}
    response = await ask(origins, "POST", json={"inputs": [1]}, headers=headers)

    assert response.json() == {"outputs": [2.5]}
    assert response.headers.get("Access-Control-Allow-Origin") == allowed
    assert response.headers.get("Vary") == vary
    exposed = response.headers.get("Access-Control-Expose-Headers", "")
    assert ("X-Model-Version" in exposed) is (allowed is not None)
    assert "Access-Control-Allow-Credentials" not in response.headers


async def test_an_error_may_be_read_too() -> None:
    response = await ask((PAGE,), "POST", content=b"{", headers={"Origin": PAGE})

    assert response.status_code == 400
    assert response.headers["Access-Control-Allow-Origin"] == PAGE


async def test_a_preflight_is_answered_for_a_listed_origin() -> None:
    """TensorFlow Serving's conformance case 110."""
    headers = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    response = await ask((PAGE,), "OPTIONS", headers=headers)

    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["Access-Control-Allow-Origin"] == PAGE
    assert "POST" in response.headers["Access-Control-Allow-Methods"]
    taken = response.headers["Access-Control-Allow-Headers"]
    assert "Content-Type" in taken
    assert "Authorization" not in taken


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.org", "Access-Control-Request-Method": "POST"},
        {"Origin": PAGE},
        {},
    ],
    ids=["another origin", "no preflight", "no origin"],
)
async def test_other_options_are_the_applications(headers: dict[str, str]) -> None:
    response = await ask((PAGE,), "OPTIONS", headers=headers)

    assert "Access-Control-Allow-Methods" not in response.headers
    assert "POST" in response.headers["Allow"]
