"""Synchronous code that awaits: a greenlet on the event loop's own thread."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio.from_thread
import anyio.to_thread
from greenlet import getcurrent, greenlet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from contextvars import Context

T = TypeVar("T")


class BridgeGreenlet(greenlet):  # type: ignore[misc]
    """The greenlet of a `GreenletCall`; the type tells `await_` where it runs."""


class Outside:
    """An awaitable that the awaiting task steps itself, in its own context."""

    __slots__ = ("awaitable",)

    def __init__(self, awaitable: Awaitable[Any]) -> None:
        self.awaitable = awaitable


class GreenletCall(Generic[T]):
    """`await GreenletCall(function, ...)` calls `function()` in a new greenlet.

    The function runs in `context`, which must not be entered by anybody else meanwhile,
    and on the loop's thread inside the awaiting task: `asyncio.current_task()`, cancel
    scopes and cancellation are that task's. `on_wait` is called once, when the function
    first has to wait. Exceptions of the function, `CancelledError` included, are raised
    to the awaiter.
    """

    __slots__ = ("_context", "_function", "_on_wait")

    def __init__(
        self, function: Callable[[], T], context: Context, on_wait: Callable[[], object]
    ) -> None:
        self._function = function
        self._context = context
        self._on_wait = on_wait

    def __await__(self) -> Generator[Any, Any, T]:
        child = BridgeGreenlet(self._function)
        child.gr_context = self._context
        handed = child.switch()
        if not child.dead:
            self._on_wait()

        while not child.dead:
            handed = yield from _serve(child, handed)

        result: T = handed
        return result


def _serve(child: BridgeGreenlet, handed: Any) -> Generator[Any, Any, Any]:
    """Wait for what `child` handed over, resume it, return what it hands over next."""
    try:
        if type(handed) is Outside:
            value = yield from handed.awaitable.__await__()
        else:
            value = yield handed
    except BaseException as exc:
        return child.throw(exc)

    return child.switch(value)


def in_bridge() -> bool:
    """Whether the caller runs in a bridge greenlet, where `await_` holds no thread."""
    return isinstance(getcurrent(), BridgeGreenlet)


def await_(awaitable: Awaitable[T]) -> T:
    """Wait for `awaitable` from synchronous code and return its result.

    In a bridge greenlet the awaitable is stepped inside the greenlet: it sees the
    greenlet's context variables, may enter cancel scopes, and may itself call
    synchronous code that calls `await_`. In an anyio worker thread it runs on the loop,
    in a task with a copy of the thread's context, while the thread waits. Anywhere else
    `RuntimeError` is raised.
    """
    current = getcurrent()
    if not isinstance(current, BridgeGreenlet):
        return _await_from_thread(awaitable)

    steps = awaitable.__await__()
    try:
        handed = steps.send(None)
        while True:
            handed = _advance(steps, current.parent, handed)
    except StopIteration as stop:
        result: T = stop.value
        return result


def await_outside(awaitable: Awaitable[T]) -> T:
    """Like `await_`, but `awaitable` sees the context of the task, not the greenlet's.

    Only in a bridge greenlet. For the server's own callables: what they register on the
    loop keeps the context it was registered in, and a connection must not keep a
    request's.
    """
    result: T = getcurrent().parent.switch(Outside(awaitable))
    return result


def run_in_thread(function: Callable[[], T], limiter: anyio.CapacityLimiter) -> T:
    """Call `function` in a worker thread from a bridge greenlet and wait for it.

    It runs in the very `Context` of the greenlet, not in a copy, so variables set on
    either side are seen by the other; the greenlet is suspended meanwhile. A cancelled
    request still waits for the thread to end.
    """
    context: Context = getcurrent().gr_context
    return await_(anyio.to_thread.run_sync(context.run, function, limiter=limiter))


def _advance(steps: Generator[Any, Any, Any], parent: Any, handed: Any) -> Any:
    try:
        value = parent.switch(handed)
    except BaseException as exc:
        return steps.throw(exc)

    return steps.send(value)


def _await_from_thread(awaitable: Awaitable[T]) -> T:
    try:
        _check_worker_thread()
        return anyio.from_thread.run(_resolve, awaitable)
    finally:
        # Does nothing but where it never ran, and there it avoids a warning.
        if inspect.iscoroutine(awaitable):
            awaitable.close()


def _check_worker_thread() -> None:
    try:
        anyio.from_thread.check_cancelled()
    except RuntimeError:
        raise RuntimeError(
            "await_() was called outside a request: use `await` in asynchronous code,"
            " and serve the application through service.bridge.Bridge (in tests:"
            " httpx.ASGITransport(Bridge(app)))."
        ) from None


async def _resolve(awaitable: Awaitable[T]) -> T:
    return await awaitable
