"""In-process clients of a Flask application behind the bridge."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx

from service.bridge.bridge import Bridge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from service.web.application import ConcurrentFlask


@asynccontextmanager
async def client_of(app: ConcurrentFlask) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Bridge(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        yield client


async def get(app: ConcurrentFlask, path: str = "/") -> httpx.Response:
    async with client_of(app) as client:
        return await client.get(path)
