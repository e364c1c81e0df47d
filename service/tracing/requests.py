"""A span for each request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind, Status, StatusCode

from service.telemetry.timing import TIMING_HEADER, VERSION_HEADER
from service.tracing.attributes import name_of, request_attributes
from service.tracing.context import headers_of, parent_of
from service.tracing.phases import add_phases

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from opentelemetry.trace import Span, Tracer

    from service.bridge.bridge import Message, Receive, Scope, Send
    from service.telemetry.route import Route

    Application = Callable[[Scope, Receive, Send], Awaitable[None]]
    Find = Callable[[str, str], Route | None]
    Headers = list[tuple[bytes, bytes]]

CONTEXT = (b"traceparent", b"tracestate")
TIMING, VERSION = TIMING_HEADER.lower().encode(), VERSION_HEADER.lower().encode()
REQUEST_ID, APPLIED = b"x-request-id", b"preference-applied"


class TracedRequests:
    """Serves `application` in spans; it sees each as its request's `traceparent`.

    So log lines, exemplars and jobs have it without knowing of it. `find` tells the
    route of a method and path. Probes have no spans.
    """

    def __init__(self, application: Application, tracer: Tracer, find: Find) -> None:
        self._application = application
        self._tracer = tracer
        self._find = find

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = None
        if scope["type"] == "http":
            route = self._find(scope["method"], _path(scope))

        if scope["type"] != "http" or (route is not None and route.probe):
            await self._application(scope, receive, send)
            return

        span = self._tracer.start_span(
            name_of(scope["method"], route),
            parent_of(_sent_context(scope["headers"])),
            SpanKind.SERVER,
            request_attributes(scope, route),
        )
        headers = _with_context(scope["headers"], headers_of(span))
        scope = {**scope, "headers": headers}
        if not span.is_recording():
            await self._application(scope, receive, send)
            return

        answer = _Answer(self._tracer, span, send, route)
        with answer:
            await self._application(scope, receive, answer.send)


class _Answer:
    """The answer to a request, noted in its span; as a block it ends that."""

    def __init__(
        self, tracer: Tracer, span: Span, send: Send, route: Route | None
    ) -> None:
        self._tracer = tracer
        self._span = span
        self._send = send
        self._predicts = route is not None and route.predicts
        self._begun = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begun = True
            self._note(message["status"], dict(message["headers"]))

        await self._send(message)

    def __enter__(self) -> None:
        """Begin to note what is sent."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._fail(kind.__name__)
        elif not self._begun:
            # Its client has gone.
            self._fail("client_disconnected")

        self._span.end()

    def _note(self, status: int, headers: dict[bytes, bytes]) -> None:
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self._fail(str(status))

        for header, attribute in (
            (b"content-length", "http.response.body.size"),
            (VERSION, "tandem.model.version"),
        ):
            if headers.get(header, b"").isdigit():
                self._span.set_attribute(attribute, int(headers[header]))

        if REQUEST_ID in headers:
            self._span.set_attribute("tandem.request.id", headers[REQUEST_ID].decode())

        # The times of a job's result are those of its own run.
        if self._predicts and TIMING in headers and APPLIED not in headers:
            add_phases(self._tracer, self._span, headers[TIMING].decode())

    def _fail(self, kind: str) -> None:
        self._span.set_attribute("error.type", kind)
        self._span.set_status(Status(StatusCode.ERROR))


def _path(scope: Scope) -> str:
    """Return the path below where another application or server mounted this one."""
    path: str = scope["path"]
    prefix: str = scope.get("root_path", "")
    return path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path


def _sent_context(headers: Headers) -> dict[str, str]:
    """Return the headers of the client's trace; none where there are several."""
    found: dict[str, str] = {}
    for name, value in headers:
        if name == CONTEXT[0] and CONTEXT[0].decode() in found:
            return {}

        if name in CONTEXT:
            text = value.decode("latin-1")
            key = name.decode()
            # A list may come in several headers.
            found[key] = f"{found[key]},{text}" if key in found else text

    return found


def _with_context(headers: Headers, context: dict[str, Any]) -> Headers:
    if not context:
        return headers

    added = [(name.encode(), value.encode()) for name, value in context.items()]
    return [each for each in headers if each[0] not in CONTEXT] + added
