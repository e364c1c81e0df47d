"""Applications whose requests go past Flask's dispatch, or through it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from flask import Response, request

from service.app import create_app
from service.auth.keys import key_line
from service.settings.settings import load_settings
from service.web.application import ConcurrentFlask
from tests.support.engines import serving
from tests.support.shelf import MIB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.support.shelf import FakeLoader


@pytest.fixture
def through_flask(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of requests that Flask dispatched."""
    paths: list[str] = []
    dispatch = ConcurrentFlask.full_dispatch_request

    def recorded(self: ConcurrentFlask, *args: Any, **kwargs: Any) -> Response:
        paths.append(request.path)
        return dispatch(self, *args, **kwargs)

    monkeypatch.setattr(ConcurrentFlask, "full_dispatch_request", recorded)
    return paths


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Serve model `a`, as an application with some settings, and its loader."""

    @asynccontextmanager
    async def made(
        **flags: Any,
    ) -> AsyncIterator[tuple[ConcurrentFlask, FakeLoader]]:
        sight = {"a": {1: "a"}}
        async with serving(tmp_path, monkeypatch, sight, budget=8 * MIB) as parts:
            engine, loader, _ = parts
            yield create_app(engine, load_settings(models="/", **flags)), loader

    return made


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    file = tmp_path / "keys"
    lines = (
        key_line("any", "for-every-model"),
        key_line("few", "for-other-models", ["b"]),
        key_line("slow", "for-one-request-", rate=0.001),
    )
    file.write_text("\n".join(lines))
    file.chmod(0o600)
    return file
