"""Whole responses in one write are those that ASGI's messages would send."""

from __future__ import annotations

import gc
import inspect
import re
import weakref
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from service.server.whole import exchange_of, respond, send_raw, take_body
from tests.support.protocol_servers import connect, listening, read_all

HEADERS = [(b"content-type", b"application/json"), (b"x-request-id", b"one")]
LINES = b"content-type: application/json\r\nx-request-id: one\r\n"
BODY = b'{"predictions":[1.0]}'


async def whole(scope: Any, receive: Any, send: Any) -> None:
    own = exchange_of(receive, send)
    assert own is not None
    body = take_body(own)

    if body is None or not respond(own, 200, LINES, BODY + body):
        await by_messages(scope, receive, send)


async def by_messages(scope: Any, receive: Any, send: Any) -> None:
    body = BODY + (await receive())["body"]
    length = (b"content-length", b"%d" % len(body))
    start = {"type": "http.response.start", "status": 200}
    await send(start | {"headers": [*HEADERS, length]})
    await send({"type": "http.response.body", "body": body})


def exchange(app: Any, requests: bytes) -> bytes:
    with listening(app) as address, connect(address) as client:
        client.sendall(requests)
        return re.sub(rb"date: [^\r]+", b"date: now", read_all(client))


@pytest.mark.parametrize(
    "requests",
    [
        b"POST / HTTP/1.1\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc",
        b"POST / HTTP/1.0\r\ncontent-length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc" * 5
        + b"POST / HTTP/1.1\r\nconnection: close\r\ncontent-length: 1\r\n\r\nd",
        (
            b"POST / HTTP/1.1\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\nabc"
            b"POST / HTTP/1.1\r\nconnection: close\r\ncontent-length: 1\r\n\r\nd"
        ),
    ],
    ids=["closed", "HTTP 1.0", "pipelined", "continued"],
)
def test_same_bytes_as_by_messages(requests: bytes) -> None:
    assert exchange(whole, requests) == exchange(by_messages, requests)


def test_nothing_is_sent_twice() -> None:
    outcomes: list[bool] = []

    async def twice(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        exchange = exchange_of(receive, send)
        assert exchange is not None
        outcomes.extend(respond(exchange, 200, LINES, BODY) for _ in range(2))

    requests = b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc"
    with listening(twice) as address, connect(address) as client:
        client.sendall(requests)
        while BODY not in client.recv(4096):
            pass

    assert outcomes == [True, False]


def test_wrapped_channels_are_not_passed_over() -> None:
    found: list[object] = []

    async def wrapping(scope: Any, receive: Any, send: Any) -> None:
        async def wrapper(*message: Any) -> Any: ...

        found.append(exchange_of(wrapper, send))
        found.append(exchange_of(receive, wrapper))
        found.append(exchange_of([].pop, [].append))
        await whole(scope, receive, send)

    exchange(
        wrapping,
        b"POST / HTTP/1.1\r\nconnection: close\r\ncontent-length: 1\r\n\r\nd",
    )
    assert found == [None] * 3


def test_request_is_freed_without_a_garbage_collection() -> None:
    requests: list[weakref.ref[Any]] = []
    left: list[object] = []

    async def noted(scope: Any, receive: Any, send: Any) -> None:
        left.extend(request() for request in requests)
        requests.append(weakref.ref(send.__self__))
        await whole(scope, receive, send)

    gc.disable()
    try:
        exchange(
            noted,
            b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc"
            b"POST / HTTP/1.1\r\nconnection: close\r\ncontent-length: 1\r\n\r\nd",
        )
    finally:
        gc.enable()

    assert left == [None]


def test_the_parts_of_uvicorn_that_are_relied_on() -> None:
    """An upgrade of uvicorn that changes these needs a look at `respond`."""
    assert STATUS_LINE[200] == b"HTTP/1.1 200 OK\r\n"
    code = inspect.getsource(RequestResponseCycle)

    used = "".join(inspect.getsource(each) for each in (take_body, respond, send_raw))

    for name in re.findall(r"exchange\.(\w+)", used):
        assert f"self.{name}" in code
