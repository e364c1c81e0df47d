"""Answers of the protocol itself, over real sockets."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from service.server.overload import StartLimiter
from service.server.protocol import JsonErrorProtocol
from tests.support.protocol_servers import connect, listening

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

BODY = b"x" * 200_000


class Busy(JsonErrorProtocol):
    """A protocol whose loop can start nothing."""

    start_limiter = StartLimiter(min_queue=0)


async def never(scope: object, receive: object, send: object) -> None:
    raise AssertionError("the application must not see this")


async def alive(scope: Any, receive: Any, send: Any) -> None:
    start = {"type": "http.response.start", "status": 200}
    await send(start | {"headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@contextmanager
def serving(app: Any, protocol: type[JsonErrorProtocol]) -> Iterator[socket.socket]:
    """Connect a client to a server that runs in a thread."""
    with listening(app, protocol=protocol) as address, connect(address) as client:
        yield client


def read_answer(client: socket.socket) -> tuple[bytes, bytes]:
    """Read head and body of one answer with a Content-Length."""
    head, body = b"", b""

    while b"\r\n\r\n" not in head:
        head += _more(client)

    head, _, body = head.partition(b"\r\n\r\n")
    length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])

    while len(body) < length:
        body += _more(client)

    return head, body


def _more(client: socket.socket) -> bytes:
    data = client.recv(4096)
    assert data, "the server has closed the connection"
    return data


def post(*headers: bytes) -> bytes:
    lines = (b"POST /v1/models/m:predict HTTP/1.1", b"host: x", *headers)
    return b"\r\n".join(lines) + b"\r\ncontent-length: %d\r\n\r\n" % len(BODY)


def test_malformed_http_is_answered_in_json() -> None:
    with serving(never, JsonErrorProtocol) as client:
        client.sendall(b"this is not HTTP\r\n\r\n")
        head, body = read_answer(client)
        assert client.recv(1) == b""

    assert head.startswith(b"HTTP/1.1 400 Bad Request")
    assert b"content-type: application/json" in head
    assert json.loads(body) == {"error": "Invalid HTTP request received."}


def test_excess_requests_are_refused_before_their_body() -> None:
    with serving(never, Busy) as client:
        for _ in range(2):  # the connection stays good
            client.sendall(post())
            head, body = read_answer(client)
            assert head.startswith(b"HTTP/1.1 503 Service Unavailable")
            assert b"retry-after: 1" in head
            assert "busy" in json.loads(body)["error"]
            client.sendall(BODY)


def test_a_refused_connection_that_should_close_closes() -> None:
    with serving(never, Busy) as client:
        client.sendall(post(b"connection: close") + BODY)
        assert read_answer(client)[0].startswith(b"HTTP/1.1 503")
        assert client.recv(1) == b""


def test_probes_are_never_refused() -> None:
    with serving(alive, Busy) as client:
        for path in (b"/livez", b"/readyz"):
            client.sendall(b"GET %b HTTP/1.1\r\nhost: x\r\n\r\n" % path)
            assert read_answer(client)[1] == b"ok"


def test_sequential_requests_are_not_refused() -> None:
    class Narrow(JsonErrorProtocol):
        start_limiter = StartLimiter(per_turn=1, min_queue=1)

    with serving(alive, Narrow) as client:
        for _ in range(5):
            client.sendall(post() + BODY)
            assert read_answer(client)[1] == b"ok"
