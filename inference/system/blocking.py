"""Context managers that block, entered and left in worker threads."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.to_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractContextManager

T = TypeVar("T")


@asynccontextmanager
async def in_threads(
    manager: AbstractContextManager[T], limiter: anyio.CapacityLimiter
) -> AsyncIterator[T]:
    """Enter `manager` and leave it off the event loop, also when cancelled."""
    value = await anyio.to_thread.run_sync(manager.__enter__, limiter=limiter)

    try:
        yield value
    except BaseException as exc:
        if not await _leave(manager, exc, limiter):
            raise
    else:
        await _leave(manager, None, limiter)


async def _leave(
    manager: AbstractContextManager[T],
    exc: BaseException | None,
    limiter: anyio.CapacityLimiter,
) -> bool | None:
    told = (None, None, None) if exc is None else (type(exc), exc, exc.__traceback__)

    swallowed = None

    with anyio.CancelScope(shield=True):
        swallowed = await anyio.to_thread.run_sync(
            manager.__exit__, *told, limiter=limiter
        )

    return swallowed
