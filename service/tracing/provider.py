"""OpenTelemetry's SDK in one server process, configured by `OTEL_…` variables."""

from __future__ import annotations

import os
from threading import Thread
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from service.settings.traces import exports

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

SERVICE = "tandem"
EXIT_SECONDS = 1.5
"""The time that the last spans have to be sent at exit."""


class Tracing:
    """Sends spans while it is entered: from a bounded queue, in a thread of its own.

    A collector that is slow or away has spans dropped, and nothing else.
    """

    def __init__(self, version: str) -> None:
        self._provider = TracerProvider(
            resource=resource(version),
            # At exit it would wait for a collector for as long as that takes.
            shutdown_on_exit=False,
        )
        self.tracer: Tracer = self._provider.get_tracer(SERVICE, version)

    def __enter__(self) -> Self:
        if exports(os.environ):
            processor = BatchSpanProcessor(OTLPSpanExporter())
            self._provider.add_span_processor(processor)

        return self

    def __exit__(self, *_: object) -> None:
        # Not in a thread of anyio's, which the process would wait for.
        ending = Thread(target=self._provider.shutdown, name="last traces", daemon=True)
        ending.start()
        ending.join(EXIT_SECONDS)


def resource(version: str) -> Resource:
    """Return who sends the spans; what `OTEL_…` variables say of it goes first."""
    own = {
        "service.name": SERVICE,
        "service.version": version,
        "service.instance.id": str(uuid4()),
    }
    return Resource.create(own).merge(OTELResourceDetector().detect())
