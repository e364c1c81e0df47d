"""Real and hand-driven servers for applications under test."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import uvicorn

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping, Sequence
    from typing import TypeAlias

    Message: TypeAlias = MutableMapping[str, Any]

HttpName = Literal["httptools", "h11"]
LOOPS: dict[HttpName, Literal["uvloop", "asyncio"]] = {
    "httptools": "uvloop",
    "h11": "asyncio",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a server listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


@contextmanager
def serve(app: Any, http: HttpName = "httptools") -> Iterator[Address]:
    """Serve `app` with uvicorn in a thread, on a port of its own."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    config = uvicorn.Config(
        app, http=http, loop=LOOPS[http], log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        host, port = listener.getsockname()
        yield Address(host=host, port=port)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


class HandDriven:
    """An ASGI server with one request, whose messages the test sends one by one."""

    def __init__(self, app: Any, messages: Sequence[Message] = (), **scope: Any):
        self.app = app
        self.scope = http_scope(**scope)
        self.sent: list[Message] = []
        self.received = 0
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        for message in messages:
            self.put(message)

    def put(self, message: Message) -> None:
        self._messages.put_nowait(message)

    async def run(self) -> None:
        await self.app(self.scope, self._receive, self._send)

    async def _receive(self) -> Message:
        message = await self._messages.get()
        self.received += 1
        return message

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> Any:
        return self.sent[0]["status"]

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])


def http_scope(**changes: Any) -> dict[str, Any]:
    """The scope of `GET /`, with changes."""
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "root_path": "",
        "query_string": b"",
        "headers": [],
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
    }
    return scope | changes


def body_message(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


GONE = {"type": "http.disconnect"}
