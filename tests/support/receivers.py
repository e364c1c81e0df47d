"""Receivers of what a server posts: a collector of traces, a sink of CloudEvents."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE_SECONDS = 120.0

T = TypeVar("T")


class Receiver(Generic[T]):
    """Keeps what is posted to `url`, and answers with `status`.

    While it is `holding`, it answers nothing; `arrived` is set by the first request
    that is held, and `released` lets it go on.
    """

    path = "/"
    content_type = "text/plain"
    content = b""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.holding = False
        self.arrived = threading.Event()
        self.released = threading.Event()
        self.headers: list[dict[str, str]] = []
        self._received: list[T] = []
        self._changed = threading.Condition()

    @property
    def received(self) -> list[T]:
        with self._changed:
            return list(self._received)

    def parse(self, body: bytes) -> list[T]:
        raise NotImplementedError

    def take(self, headers: dict[str, str], body: bytes) -> None:
        parsed = self.parse(body)

        with self._changed:
            self.headers.append(headers)
            self._received += parsed
            self._changed.notify_all()

    def until(self, wanted: Callable[[T], bool], count: int = 1) -> list[T]:
        """Wait for `count` that are `wanted`; return those that came."""

        def found() -> list[T]:
            return [each for each in self._received if wanted(each)]

        with self._changed:
            came = self._changed.wait_for(
                lambda: len(found()) >= count, PATIENCE_SECONDS
            )
            assert came, f"only these came: {self._received}"
            return found()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedSpan:
    """A span as it arrived; ids are in hexadecimal, times in nanoseconds."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    start: int
    end: int
    attributes: dict[str, Any]
    status: int
    state: str
    resource: dict[str, Any]


class Collector(Receiver[ReceivedSpan]):
    """A collector of traces: OTLP over HTTP, as any of them takes it."""

    path = "/v1/traces"
    content_type = "application/x-protobuf"
    content = ExportTraceServiceResponse().SerializeToString()

    def parse(self, body: bytes) -> list[ReceivedSpan]:
        return list(_spans(ExportTraceServiceRequest.FromString(body)))


class EventSink(Receiver[dict[str, Any]]):
    """A receiver of CloudEvents."""

    path = "/events"

    def __init__(self) -> None:
        super().__init__()
        self.status = 204

    def parse(self, body: bytes) -> list[dict[str, Any]]:
        return [json.loads(body)]

    def event(self, request_id: str) -> dict[str, Any]:
        """Wait for the one event of a request."""
        [event] = self.until(lambda each: each["subject"] == request_id)
        return event


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector; `url` is its root, to which exporters add the path."""
    with _running(collector := Collector()) as root:
        collector.url = root
        yield collector


@contextmanager
def receiving() -> Iterator[EventSink]:
    """Run a sink of events."""
    with _running(sink := EventSink()) as root:
        sink.url = f"{root}{sink.path}"
        yield sink


@contextmanager
def _running(receiver: Receiver[Any]) -> Iterator[str]:
    """Serve on a port of its own, and yield the URL; let go of what it holds."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            # Who posted it may have ended while it was held.
            with suppress(ConnectionError):
                _answer(receiver, self)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            receiver.released.set()
            server.shutdown()
            thread.join()


def _answer(receiver: Receiver[Any], request: BaseHTTPRequestHandler) -> None:
    body = request.rfile.read(int(request.headers["content-length"]))

    if receiver.holding:
        receiver.arrived.set()
        receiver.released.wait()

    assert request.path == receiver.path
    if receiver.status < 300:
        told = {name.lower(): value for name, value in request.headers.items()}
        receiver.take(told, body)

    request.send_response(receiver.status)
    request.send_header("content-type", receiver.content_type)
    request.send_header("content-length", str(len(receiver.content)))
    request.end_headers()
    request.wfile.write(receiver.content)


def _spans(request: ExportTraceServiceRequest) -> Iterator[ReceivedSpan]:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield ReceivedSpan(
                    name=span.name,
                    kind=span.kind,
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    start=span.start_time_unix_nano,
                    end=span.end_time_unix_nano,
                    attributes=_values(span.attributes),
                    status=span.status.code,
                    state=span.trace_state,
                    resource=_values(resource.resource.attributes),
                )


def _values(attributes: Any) -> dict[str, Any]:
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value"))
        for each in attributes
    }
