from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from service.bridge.bridge import Bridge
from service.web.root_path import RootPath
from tests.support.clients import make_app
from tests.support.fakes import FakeEngine, FakeModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def client() -> AsyncIterator[httpx.AsyncClient]:
    application = RootPath(Bridge(make_app(FakeEngine(FakeModel()))), "/ml/models")
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        yield client


@pytest.mark.parametrize("prefix", ["", "/ml/models"], ids=["stripped", "passed on"])
async def test_a_proxy_may_strip_the_prefix_or_pass_it_on(prefix: str) -> None:
    async with client() as proxy:
        predicted = await proxy.post(
            f"{prefix}/v1/models/half:predict", json={"inputs": [1]}
        )
        (model,) = (await proxy.get(f"{prefix}/v1/models")).json()["models"]
        alive = await proxy.get(f"{prefix}/livez")
        odd = await proxy.get(f"{prefix}/v1/models/a%2Fb")

    assert predicted.json() == {"outputs": [2.5]}
    assert model["predict"] == "/ml/models/v1/models/half:predict"
    assert alive.status_code == 200
    assert "versions of model a/b" in odd.json()["error"]


@pytest.mark.parametrize("path", ["/ml/models2/v1/models", "/ml/v1/models"])
async def test_another_prefix_is_an_unknown_url(path: str) -> None:
    async with client() as proxy:
        response = await proxy.get(path)

    assert response.status_code == 404
