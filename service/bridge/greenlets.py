"""Synchronous code that awaits, in greenlets on the event loop's own thread."""

from __future__ import annotations

import inspect
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio.from_thread
import anyio.to_thread
from greenlet import GreenletExit, getcurrent, greenlet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from contextvars import Context

T = TypeVar("T")


DONE = object()

# An idle greenlet keeps a stack chunk of 16 KiB.
MAX_IDLE = 256


class IdleGreenlets(threading.local):
    """The idle greenlets of each thread; a greenlet can't change its thread."""

    def __init__(self) -> None:
        self.idle: list[BridgeGreenlet] = []


pool = IdleGreenlets()


class BridgeGreenlet(greenlet):  # type: ignore[misc]
    """A greenlet that calls functions one after another, and that `await_` knows."""

    # Reused, because a new greenlet maps and unmaps a chunk of stack: 12 µs, not 1.

    gr_context: Context | None
    caller: Any = None
    result: Any = None
    error: BaseException | None = None

    def run(self, function: Callable[[], Any]) -> None:
        while True:
            try:
                self.result = function()
            except GreenletExit:
                # Nothing refers to this greenlet any more, so nothing waits for it.
                raise
            except BaseException as exc:
                self.error = exc

            # An idle greenlet must not keep a request alive.
            del function
            function = self.caller.switch(DONE)

    def start(self, function: Callable[[], Any], context: Context) -> Any:
        """Call `function` in `context`; return what it first yields, or `DONE`."""
        self.caller = getcurrent()
        self.gr_context = context
        return self.switch(function)

    def finish(self) -> Any:
        """Free the greenlet; return the function's result or raise its exception."""
        result, error = self.result, self.error
        self.result = self.error = self.caller = self.gr_context = None
        if len(pool.idle) < MAX_IDLE:
            pool.idle.append(self)

        if error is not None:
            try:
                raise error
            finally:
                # Its traceback refers to this frame, which would be a cycle.
                del error

        return result


class GreenletCall(Generic[T]):
    """An awaitable that calls `function()` in a greenlet of its own.

    The function runs in `context`, which nothing else may enter meanwhile, on the
    loop's thread and inside the awaiting task: `asyncio.current_task()`, cancel scopes
    and cancellation are that task's. `on_wait` is called once, when the function first
    has to wait. The awaiter gets the function's exceptions, `CancelledError` included.
    """

    __slots__ = ("_context", "_function", "_on_wait")

    def __init__(
        self, function: Callable[[], T], context: Context, on_wait: Callable[[], object]
    ) -> None:
        self._function = function
        self._context = context
        self._on_wait = on_wait

    def __await__(self) -> Generator[Any, Any, T]:
        child = pool.idle.pop() if pool.idle else BridgeGreenlet()
        handed = child.start(self._function, self._context)
        if handed is not DONE:
            self._on_wait()

        # Inline: the loop would pass through a nested generator at each step.
        while handed is not DONE:
            try:
                value = yield handed
            except BaseException as exc:
                handed = child.throw(exc)
            else:
                handed = child.switch(value)

        result: T = child.finish()
        return result


def in_bridge() -> bool:
    """Return whether this is a bridge greenlet, where `await_` holds no thread."""
    return isinstance(getcurrent(), BridgeGreenlet)


def await_(awaitable: Awaitable[T]) -> T:
    """Wait for `awaitable` from synchronous code and return its result.

    In a bridge greenlet the awaitable is stepped inside the greenlet: it sees the
    greenlet's context variables, may enter cancel scopes, and may itself call
    synchronous code that calls `await_`. In an anyio worker thread it runs on the loop,
    in a task with a copy of the thread's context, while the thread waits. Raise
    `RuntimeError` anywhere else.
    """
    if not isinstance(getcurrent(), BridgeGreenlet):
        return _await_from_thread(awaitable)

    steps = awaitable.__await__()
    result: T = _step(steps.send, steps.throw)
    return result


def await_outside(awaitable: Awaitable[T], context: Context) -> T:
    """Wait as `await_` does, but step `awaitable` in `context`.

    For the server's own callables, and in a bridge greenlet only.
    """
    # Callbacks registered on the loop keep their context, and a connection must not
    # keep a request's.
    steps = awaitable.__await__()
    run: Callable[..., Any] = context.run
    result: T = _step(partial(run, steps.send), partial(run, steps.throw))
    return result


def _step(send: Callable[[Any], Any], throw: Callable[[Any], Any]) -> Any:
    """Step an awaitable to its end by its `send` and `throw`; return its result."""
    caller = getcurrent().caller
    try:
        handed = send(None)
        while True:
            try:
                value = caller.switch(handed)
            except BaseException as exc:
                handed = throw(exc)
            else:
                handed = send(value)
    except StopIteration as stop:
        return stop.value


def run_in_thread(function: Callable[[], T], limiter: anyio.CapacityLimiter) -> T:
    """Call `function` in a worker thread from a bridge greenlet and wait for it.

    It runs in the greenlet's own `Context`, not in a copy, so each side sees variables
    that the other sets. A cancelled request still waits for the thread to end.
    """
    context: Context = getcurrent().gr_context
    return await_(anyio.to_thread.run_sync(context.run, function, limiter=limiter))


def _await_from_thread(awaitable: Awaitable[T]) -> T:
    try:
        _check_worker_thread()
        return anyio.from_thread.run(_resolve, awaitable)
    finally:
        # Avoids a warning for a coroutine that never ran; otherwise does nothing.
        if inspect.iscoroutine(awaitable):
            awaitable.close()


def _check_worker_thread() -> None:
    try:
        anyio.from_thread.check_cancelled()
    except RuntimeError:
        raise RuntimeError(
            "await_() was called outside a request: use `await` in asynchronous code,"
            " and serve the application through service.bridge.bridge.Bridge (in tests:"
            " httpx.ASGITransport(Bridge(app)))."
        ) from None


async def _resolve(awaitable: Awaitable[T]) -> T:
    return await awaitable
