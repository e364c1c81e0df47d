"""The ASGI lifespan protocol around one asynchronous context manager."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping
    from contextlib import AbstractAsyncContextManager

logger = logging.getLogger("tandem.bridge")


async def run_lifespan(
    factory: Callable[[], AbstractAsyncContextManager[None]] | None,
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Enter the context on startup and exit it on shutdown, in the calling task.

    Log an exception and report it to the server as a failed startup or shutdown.
    """
    await receive()
    phase = "startup"
    try:
        async with factory() if factory is not None else nullcontext():
            await send({"type": "lifespan.startup.complete"})
            phase = "shutdown"
            await receive()
    except Exception as exc:
        logger.exception("Application %s failed", phase)
        await send({"type": f"lifespan.{phase}.failed", "message": describe(exc)})
    else:
        await send({"type": "lifespan.shutdown.complete"})


def describe(exc: Exception) -> str:
    """Return the message of an exception, or those of the members of a group."""
    if isinstance(exc, ExceptionGroup):
        return "; ".join(describe(member) for member in exc.exceptions)

    return str(exc) or type(exc).__name__
