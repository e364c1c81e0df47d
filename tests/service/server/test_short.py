"""Whole responses in one write are those that ASGI's messages would send."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import pytest
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.server.late_refusal import LateRefusal
from service.server.protocol import JsonErrorProtocol
from service.server.short import ShortExchange
from tests.support.protocol_servers import connect, listening, read_all

if TYPE_CHECKING:
    from collections.abc import Callable

HEADERS = [(b"content-type", b"application/json"), (b"x-request-id", b"one")]
LINES = b"content-type: application/json\r\nx-request-id: one\r\n"
BODY = b'{"predictions":[1.0]}'


async def by_messages(scope: Any, receive: Any, send: Any) -> None:
    body = BODY + (await receive())["body"]
    length = (b"content-length", b"%d" % len(body))
    start = {"type": "http.response.start", "status": 200}
    await send(start | {"headers": [*HEADERS, length]})
    await send({"type": "http.response.body", "body": body})


class Whole:
    """Answers all requests that it may on their exchange, others by messages."""

    def __init__(self) -> None:
        self.shortcut = self
        self.begun = 0

    def head(self, scope: Any) -> str:
        return "a head"

    def accepts(self, head: str, scope: Any) -> bool:
        return True

    def begin(self, head: str, exchange: ShortExchange) -> None:
        self.begun += 1
        for _ in range(2):
            # The second is not sent.
            exchange.respond(200, LINES, BODY + exchange.body)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await by_messages(scope, receive, send)


def exchange(app: Any, requests: bytes) -> bytes:
    with listening(app) as address, connect(address) as client:
        client.sendall(requests)
        return re.sub(rb"date: [^\r]+", b"date: now", read_all(client))


@pytest.mark.parametrize(
    ("requests", "begun"),
    [
        pytest.param(
            b"POST / HTTP/1.1\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc",
            0,
            id="closed",
        ),
        pytest.param(
            b"POST / HTTP/1.0\r\ncontent-length: 3\r\n\r\nabc", 0, id="HTTP 1.0"
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc" * 5
            + b"POST / HTTP/1.1\r\nconnection: close\r\ncontent-length: 1\r\n\r\nd",
            5,
            id="pipelined",
        ),
    ],
)
def test_same_bytes_as_by_messages(requests: bytes, begun: int) -> None:
    whole = Whole()
    assert exchange(whole, requests) == exchange(by_messages, requests)
    assert whole.begun == begun


def attributes(pattern: str, *of: Callable[..., Any] | type) -> set[str]:
    """Return the attributes of what `pattern` names that the sources use."""
    sources = "".join(inspect.getsource(each) for each in of)
    return set(re.findall(rf"\b{pattern}\.(\w+)", sources))


def test_the_parts_of_uvicorn_that_are_relied_on() -> None:
    """An upgrade of uvicorn that changes these needs a look at our exchanges."""
    assert STATUS_LINE[200] == b"HTTP/1.1 200 OK\r\n"


def test_exchanges_of_ours_have_what_protocols_use_of_uvicorns() -> None:
    used = attributes("cycle", *JsonErrorProtocol.__mro__[:4])
    assert "disconnected" in used
    # Asked of those alone that uvicorn makes.
    used -= {"run_asgi", "transport"}
    assert used <= {*dir(ShortExchange)}
    assert used <= {*dir(LateRefusal)}
