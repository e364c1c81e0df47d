from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import anyio
import pytest

from service.bridge.bridge import Bridge
from tests.support.servers import HandDriven

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def application(environ: Any, start_response: Any) -> NoReturn:
    raise AssertionError("nobody asked")


def lifespan_messages() -> list[Any]:
    return [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]


async def run(lifespan: Any) -> list[Any]:
    bridge = Bridge(application, lifespan)
    exchange = HandDriven(bridge, lifespan_messages(), type="lifespan")
    await exchange.run()
    return exchange.sent


async def test_enters_and_exits() -> None:
    tasks = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            tasks.append(asyncio.current_task())
            group.start_soon(anyio.sleep_forever)
            yield
            tasks.append(asyncio.current_task())
            group.cancel_scope.cancel()

    sent = await run(lifespan)
    expected = ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert [message["type"] for message in sent] == expected
    assert tasks == [asyncio.current_task()] * 2


async def test_none() -> None:
    assert len(await run(None)) == 2


@pytest.mark.parametrize("grouped", [False, True])
async def test_startup_fails(grouped: bool) -> None:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        error = ValueError("no models here")
        raise ExceptionGroup("several", [error]) if grouped else error
        yield

    failed = {"type": "lifespan.startup.failed", "message": "no models here"}
    assert await run(lifespan) == [failed]


async def test_shutdown_fails() -> None:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        yield
        raise ValueError("cannot stop")

    failed = {"type": "lifespan.shutdown.failed", "message": "cannot stop"}
    assert (await run(lifespan))[1:] == [failed]
