from __future__ import annotations

import asyncio
import threading
import weakref
from contextvars import ContextVar, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from greenlet import getcurrent

from service.bridge.greenlets import (
    MAX_IDLE,
    GreenletCall,
    await_,
    await_outside,
    in_bridge,
    pool,
    run_in_thread,
)

if TYPE_CHECKING:
    from collections.abc import Callable

variable: ContextVar[str] = ContextVar("variable", default="unset")


async def call(function: Callable[[], Any]) -> Any:
    return await GreenletCall(function, copy_context(), lambda: None)


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


async def fail() -> None:
    await asyncio.sleep(0)
    raise KeyError("inner")


async def test_result() -> None:
    assert await call(lambda: await_(double(2)) + await_(double(3))) == 10


async def test_exception_reaches_the_awaiter() -> None:
    with pytest.raises(KeyError, match="inner"):
        await call(lambda: await_(fail()))


async def test_exception_can_be_caught_inside() -> None:
    def function() -> str:
        try:
            await_(fail())
        except KeyError:
            return str(await_(double(4)))

        return "no error"

    assert await call(function) == "8"


async def test_nested() -> None:
    async def middle() -> int:
        return await double(await_(double(1)))

    assert await call(lambda: await_(middle())) == 4


async def test_greenlet_in_greenlet() -> None:
    async def inner() -> Any:
        return await call(lambda: await_(double(5)))

    assert await call(lambda: await_(inner())) == 10


async def test_runs_in_the_awaiting_task_and_thread() -> None:
    async def where() -> tuple[Any, int]:
        await asyncio.sleep(0)
        return asyncio.current_task(), threading.get_ident()

    expected = asyncio.current_task(), threading.get_ident()
    assert await call(lambda: await_(where())) == expected


async def test_a_call_runs_in_its_context() -> None:
    async def set_inside() -> None:
        await asyncio.sleep(0)
        variable.set("inside")

    def function() -> str:
        await_(set_inside())
        return variable.get()

    assert await call(function) == "inside"
    assert variable.get() == "unset"


async def test_await_outside_runs_in_the_other_context() -> None:
    async def get() -> str:
        await asyncio.sleep(0)
        return variable.get()

    def function() -> tuple[str, str]:
        variable.set("inside")
        return await_(get()), await_outside(get(), outside)

    outside = copy_context()
    assert await call(function) == ("inside", "unset")


async def test_cancel_scope_opened_inside() -> None:
    async def cancelled() -> bool:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anyio.sleep_forever()

        return scope.cancelled_caught

    assert await call(lambda: await_(cancelled()))


async def test_cancellation_reaches_the_function() -> None:
    seen = []

    def function() -> None:
        try:
            await_(anyio.sleep_forever())
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with anyio.CancelScope() as scope:
        await GreenletCall(function, copy_context(), scope.cancel)

    assert scope.cancelled_caught
    assert seen == ["cancelled"]


async def test_greenlets_are_reused() -> None:
    seen = [await call(getcurrent) for _ in range(3)]
    assert len(set(map(id, seen))) == 1


@pytest.mark.parametrize("error", [KeyError, asyncio.CancelledError, SystemExit])
async def test_a_greenlet_survives_exceptions(error: type[BaseException]) -> None:
    def function() -> None:
        await_(double(1))
        raise error

    for _ in range(3):
        with pytest.raises(error):
            await call(function)

    assert await call(lambda: await_(double(1))) == 2


async def test_waiting_greenlets_are_not_reused() -> None:
    gate = anyio.Event()
    seen = []

    def function() -> None:
        before = getcurrent()
        variable.set(str(id(before)))
        await_(gate.wait())
        assert getcurrent() is before
        assert variable.get() == str(id(before))
        seen.append(id(before))

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(call, function)

        await anyio.wait_all_tasks_blocked()
        gate.set()

    assert len(set(seen)) == 5


async def test_an_idle_greenlet_keeps_no_reference() -> None:
    class Kept:
        pass

    def function(kept: Kept) -> Kept:
        variables.set(kept)
        return kept

    variables: ContextVar[Kept] = ContextVar("variables")
    dead = weakref.ref(await call(partial(function, Kept())))
    assert dead() is None


async def test_idle_greenlets_are_limited() -> None:
    gate = anyio.Event()
    async with anyio.create_task_group() as group:
        for _ in range(MAX_IDLE + 5):
            group.start_soon(call, lambda: await_(gate.wait()))

        await anyio.wait_all_tasks_blocked()
        gate.set()

    assert len(pool.idle) == MAX_IDLE


async def test_each_thread_has_its_own_greenlets() -> None:
    def in_thread() -> Any:
        return anyio.run(call, getcurrent)

    await call(getcurrent)
    seen = [await anyio.to_thread.run_sync(in_thread) for _ in range(2)]
    assert await call(getcurrent) not in seen


async def test_a_forgotten_call_is_unwound() -> None:
    unwound = []

    def function() -> None:
        try:
            await_(asyncio.sleep(0))
        finally:
            unwound.append(True)

    steps = GreenletCall(function, copy_context(), lambda: None).__await__()
    steps.send(None)
    steps.close()
    assert unwound


async def test_on_wait_is_called_once() -> None:
    waits: list[str] = []
    announce = partial(waits.append, "wait")
    function = lambda: await_(double(1)) + await_(double(2))  # noqa: E731
    await GreenletCall(function, copy_context(), announce)
    assert waits == ["wait"]


async def test_on_wait_is_not_called_without_a_wait() -> None:
    waits: list[str] = []
    call = GreenletCall(lambda: 1, copy_context(), partial(waits.append, "wait"))
    assert await call == 1
    assert waits == []


async def test_await_outside_a_request_says_what_to_do() -> None:
    assert not in_bridge()
    with pytest.raises(RuntimeError, match="serve the application through"):
        await_(double(1))


async def test_await_in_a_task_of_its_own_is_refused() -> None:
    async def task() -> None:
        with pytest.raises(RuntimeError, match="use `await`"):
            await_(double(1))

    async def view() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(task)

    await call(lambda: await_(view()))


async def test_await_in_a_worker_thread() -> None:
    assert await anyio.to_thread.run_sync(lambda: await_(double(6))) == 12


async def test_thread_shares_the_context() -> None:
    def in_thread() -> tuple[str, int]:
        before = variable.get()
        variable.set("thread")
        return before, threading.get_ident()

    def function() -> Any:
        variable.set("loop")
        before, ident = run_in_thread(in_thread, anyio.CapacityLimiter(1))
        return before, ident != threading.get_ident(), variable.get()

    assert await call(function) == ("loop", True, "thread")
    assert variable.get() == "unset"
