"""A receiver of CloudEvents over HTTP."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_SECONDS = 120.0


class EventSink:
    """Keeps the events that are posted, and answers with `status`.

    While it is `holding`, it answers nothing; `arrived` is set by the first request
    that is held.
    """

    def __init__(self) -> None:
        self.url = ""
        self.status = 204
        self.holding = False
        self.arrived = threading.Event()
        self.released = threading.Event()
        self.headers: list[dict[str, str]] = []
        self._events: list[dict[str, Any]] = []
        self._changed = threading.Condition()

    def take(self, headers: dict[str, str], body: bytes) -> None:
        with self._changed:
            self.headers.append(headers)
            self._events.append(json.loads(body))
            self._changed.notify_all()

    def until(self, request_id: str) -> dict[str, Any]:
        """Wait for the event of a request."""
        with self._changed:
            came = self._changed.wait_for(
                lambda: self._found(request_id), PATIENCE_SECONDS
            )
            assert came, f"only these came: {self._events}"
            [event] = self._found(request_id)
            return event

    def _found(self, request_id: str) -> list[dict[str, Any]]:
        return [each for each in self._events if each["subject"] == request_id]


@contextmanager
def receiving() -> Iterator[EventSink]:
    """Run a receiver on a port of its own."""
    sink = EventSink()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if sink.holding:
                sink.arrived.set()
                sink.released.wait()
                return

            told = {name.lower(): value for name, value in self.headers.items()}
            if sink.status < 300:
                sink.take(told, body)

            self.send_response(sink.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        sink.url = f"http://127.0.0.1:{server.server_port}/events"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield sink
        finally:
            sink.released.set()
            server.shutdown()
            thread.join()
