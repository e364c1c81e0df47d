"""The whole service in process: application, bridge, HTTP client."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import httpx

from service.app import create_app
from service.bridge.bridge import Bridge
from service.settings.settings import load_settings

if TYPE_CHECKING:
    from inference import Engine
    from service.settings.settings import Settings
    from service.web.application import ConcurrentFlask


def make_app(engine: Engine, **flags: Any) -> ConcurrentFlask:
    settings = load_settings(**{"models": "/", **flags}) if flags else _defaults()
    return create_app(engine, settings)


@cache
def _defaults() -> Settings:
    return load_settings(models="/")


def open_client(app: ConcurrentFlask) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(Bridge(app)), base_url="http://tandem"
    )


def make_client(engine: Engine, **flags: Any) -> httpx.AsyncClient:
    return open_client(make_app(engine, **flags))
