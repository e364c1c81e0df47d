"""A collector of traces: OTLP over HTTP, as any of them takes it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE_SECONDS = 120.0


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


class Collector:
    """Keeps the spans that arrive; while it is `holding`, it answers nothing.

    `arrived` is set by the first request that is held.
    """

    def __init__(self) -> None:
        self.url = ""
        self.holding = False
        self.arrived = threading.Event()
        self.released = threading.Event()
        self._spans: list[ReceivedSpan] = []
        self._changed = threading.Condition()

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._changed:
            self._spans += _spans(request)
            self._changed.notify_all()

    def until(
        self, wanted: Callable[[ReceivedSpan], bool], count: int = 1
    ) -> list[ReceivedSpan]:
        """Wait for `count` spans that are `wanted`; return those that came."""
        with self._changed:
            came = self._changed.wait_for(
                lambda: len(self._found(wanted)) >= count, PATIENCE_SECONDS
            )
            assert came, f"only these came: {[each.name for each in self._spans]}"
            return self._found(wanted)

    @property
    def spans(self) -> list[ReceivedSpan]:
        with self._changed:
            return list(self._spans)

    def _found(self, wanted: Callable[[ReceivedSpan], bool]) -> list[ReceivedSpan]:
        return [each for each in self._spans if wanted(each)]


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector on a port of its own."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if collector.holding:
                collector.arrived.set()
                collector.released.wait()

            assert self.path == "/v1/traces"
            collector.take(body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        collector.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            collector.released.set()
            server.shutdown()
            thread.join()


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
