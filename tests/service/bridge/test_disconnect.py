"""Clients that disconnect during a request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import anyio
import pytest

from service.bridge.bridge import Bridge
from service.bridge.disconnect import DisconnectWatcher, WatchTimer
from service.bridge.greenlets import await_
from tests.support.servers import GONE, HandDriven, body_message
from tests.support.wsgi_apps import Body, ListBody, StartResponse, answering

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert caplog.records == []


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([body_message(b"")], id="no-body"),
        pytest.param([body_message(b"unread")], id="unread-body"),
    ],
)
async def test_cancels_the_wait(messages: list[Any]) -> None:
    seen: list[str] = []

    def application(environ: Any, start_response: StartResponse) -> list[bytes]:
        exchange.put(GONE)
        try:
            await_(anyio.sleep_forever())
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

        raise AssertionError("not cancelled")

    exchange = HandDriven(Bridge(application), messages)
    await exchange.run()
    assert seen == ["cancelled"]
    assert exchange.sent == []


async def test_in_the_body() -> None:
    def application(environ: Any, start_response: StartResponse) -> list[bytes]:
        environ["wsgi.input"].read()
        raise AssertionError("the body was whole")

    messages = [body_message(b"a", more=True), GONE]
    exchange = HandDriven(Bridge(application), messages)
    await exchange.run()
    assert exchange.sent == []


async def test_closes_the_stream() -> None:
    class Endless(Body):
        def __next__(self) -> bytes:
            exchange.put(GONE)
            return b"more"

    body = Endless()
    exchange = HandDriven(Bridge(answering(body)), [body_message(b"")])
    await exchange.run()
    assert body.closed == 1
    assert exchange.sent[-1]["more_body"]


async def test_closes_the_sequence() -> None:
    body = ListBody([b"x"])
    exchange = HandDriven(Bridge(answering(body)))

    async def send(message: Any) -> None:
        raise asyncio.CancelledError

    exchange._send = send  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await exchange.run()

    assert body.closed == 1


async def test_watchers_start_late_and_only_where_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One timer serves all; ended requests aren't watched."""
    timer, started = WatchTimer(), []
    loop = asyncio.get_running_loop()
    timers: list[Any] = []
    monkeypatch.setattr(loop, "call_later", lambda *call: timers.append(call))

    class Armed(DisconnectWatcher):
        def start(self) -> None:
            started.append(self)

    first, second = (Armed(Mock(), Mock(), Mock(), timer) for _ in range(2))
    first.arm()
    first.arm()
    timers.pop()[1]()
    second.arm()
    assert started == []
    timers.pop()[1]()
    assert started == [first]
    timers.pop()[1]()
    assert started == [first, second]
    assert timers == []
    first.arm()
    Armed(Mock(), Mock(), Mock(), timer).arm()
    assert len(timers) == 1


async def test_a_watcher_that_has_ended_is_not_started() -> None:
    group = Mock()
    with DisconnectWatcher(Mock(), Mock(), group, WatchTimer()) as watcher:
        pass

    watcher.start()
    assert not group.create_task.called
