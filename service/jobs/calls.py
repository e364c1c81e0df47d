"""The synchronous call that a job makes: a request to the application itself.

Its answer is the very one that a client would have got, whatever the URL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from service.jobs.job import JobResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from service.jobs.job import JobRequest

    Message = MutableMapping[str, Any]
    Application = Callable[..., Awaitable[None]]

# Of this answer only: the client gets its own.
_DROPPED = {
    *("content-length", "date", "server", "connection", "x-request-id"),
    *("age", "cache-status"),
}

# A model that is asynchronous by its sidecar would answer with another job. The time
# limit is the model's own.
_PREFER = "wait=86400"


async def call(application: Application, request: JobRequest, id: str) -> JobResult:
    """POST to an ASGI application, in this process. `id` becomes the request's id."""
    exchange = _Exchange(request.body)
    headers = {
        **request.headers,
        "content-length": str(len(request.body)),
        "x-request-id": id,
        "prefer": _PREFER,
    }
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": request.path,
        "raw_path": request.path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": None,
        "server": None,
    }
    await application(scope, exchange.receive, exchange.send)
    return JobResult(
        status=exchange.status,
        headers=exchange.headers,
        body=b"".join(exchange.pieces),
    )


class _Exchange:
    """The messages between the application and its only client."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self.status = 500
        self.headers: dict[str, str] = {}
        self.pieces: list[bytes] = []

    async def receive(self) -> Message:
        if self._body is None:
            # This client never hangs up.
            await anyio.sleep_forever()

        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {
                name.decode("latin-1").lower(): value.decode("latin-1")
                for name, value in message["headers"]
                if name.decode("latin-1").lower() not in _DROPPED
            }
        elif message["type"] == "http.response.body":
            self.pieces.append(message.get("body", b""))
