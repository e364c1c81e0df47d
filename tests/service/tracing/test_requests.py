from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from service.telemetry.route import Route
from service.telemetry.traces import trace_of
from service.tracing.requests import TracedRequests
from tests.support.servers import HandDriven

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = (b"traceparent", f"00-{TRACE}-{SPAN}-01".encode())
TIMING = (b"server-timing", b"queue;dur=1.000, decode;dur=2.000")


class Answers:
    """An application that answers with `status`, or not at all."""

    def __init__(
        self, status: int | None = 200, headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        self.status = status
        self.headers = headers
        self.seen: list[tuple[bytes, bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen = scope["headers"]
        if self.status is None:
            return

        start = {"type": "http.response.start", "status": self.status}
        await send({**start, "headers": self.headers})
        await send({"type": "http.response.body", "body": b""})


async def fail(scope: Any, receive: Any, send: Any) -> None:
    raise KeyError("secret")


def find(method: str, path: str) -> Route | None:
    probe, predicts = path == "/livez", path == "/predict"
    return Route(path, "", "a" if predicts else None, predicts, probe)


async def run(
    app: Any, path: str = "/predict", **scope: Any
) -> tuple[HandDriven, Sequence[ReadableSpan]]:
    """Ask once; return what was sent, and the spans."""
    provider, kept = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    traced = TracedRequests(app, provider.get_tracer("tests"), find)
    exchange = HandDriven(traced, method="POST", path=path, **scope)
    try:
        await exchange.run()
    finally:
        spans = kept.get_finished_spans()

    return exchange, spans


async def test_the_application_sees_the_span_as_its_parent() -> None:
    app = Answers()
    others = [(b"accept", b"*/*"), (b"tracestate", b"a=1"), (b"tracestate", b"b=2")]
    _, [span] = await run(app, headers=[PARENT, *others])

    assert span.parent is not None
    assert (span.parent.trace_id, span.parent.span_id) == (
        int(TRACE, 16),
        int(SPAN, 16),
    )
    seen = dict(app.seen)
    assert len(seen) == len(app.seen) == 3
    assert seen[b"traceparent"].decode().split("-")[2] == f"{span.context.span_id:016x}"
    assert trace_of(seen[b"traceparent"].decode()) == TRACE
    assert seen[b"tracestate"] == b"a=1,b=2"


async def test_two_parents_are_none() -> None:
    app = Answers()
    _, [span] = await run(app, headers=[PARENT, PARENT])

    assert span.parent is None
    assert [name for name, _ in app.seen] == [b"traceparent"]


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (200, StatusCode.UNSET, None),
        (404, StatusCode.UNSET, None),
        (503, StatusCode.ERROR, "503"),
        (None, StatusCode.ERROR, "client_disconnected"),
    ],
)
async def test_failure_is_recorded_on_the_span(
    status: int | None, code: StatusCode, kind: str | None
) -> None:
    _, [span] = await run(Answers(status))

    assert span.attributes is not None
    assert span.status.status_code is code
    assert span.attributes.get("error.type") == kind
    assert span.attributes.get("http.response.status_code") == status


async def test_an_error_is_told_without_its_words() -> None:
    provider, kept = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    traced = TracedRequests(fail, provider.get_tracer("tests"), find)

    with pytest.raises(KeyError):
        await HandDriven(traced).run()

    [span] = kept.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["error.type"] == "KeyError"
    assert "secret" not in span.to_json()


async def test_probes_have_no_span() -> None:
    app = Answers()
    _, spans = await run(app, "/livez", headers=[PARENT])

    assert spans == ()
    assert app.seen == [PARENT]


@pytest.mark.parametrize(
    ("path", "headers", "names"),
    [
        ("/predict", [TIMING], ["decode", "queue"]),
        ("/predict", [TIMING, (b"preference-applied", b"respond-async")], []),
        ("/v1/jobs/a/result", [TIMING], []),
        ("/predict", [], []),
    ],
)
async def test_phases_are_those_of_the_request_itself(
    path: str, headers: list[tuple[bytes, bytes]], names: list[str]
) -> None:
    _, [*phases, _] = await run(Answers(headers=headers), path)

    assert [each.name for each in phases] == names


async def test_a_disabled_sdk_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    app = Answers()
    exchange, spans = await run(app)

    assert (exchange.status, spans, app.seen) == (200, (), [])


async def test_unsampled_request_passes_its_parent_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    app = Answers()
    _, spans = await run(app, headers=[PARENT])

    assert spans == ()
    [(_, seen)] = app.seen
    assert trace_of(seen.decode()) == TRACE
    assert seen.endswith(b"-00")
