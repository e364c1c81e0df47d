"""W3C's Trace Context, from headers to OpenTelemetry's context and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.trace import set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

_W3C = TraceContextTextMapPropagator()


def parent_of(headers: Mapping[str, str]) -> Context:
    """Return the context of the span that these headers name, if they name one."""
    return _W3C.extract(headers)


def headers_of(span: Span) -> dict[str, str]:
    """Return the headers that make `span` the parent; none if it isn't valid."""
    headers: dict[str, str] = {}
    _W3C.inject(headers, set_span_in_context(span))
    return headers
