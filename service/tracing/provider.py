"""OpenTelemetry's SDK in one server process, configured by `OTEL_…` variables."""

from __future__ import annotations

import logging
import math
import os
import time
from threading import Thread
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from service.settings.traces import exports

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Tracer

SERVICE = "tandem"
EXIT_SECONDS = 1.5
"""The time that the last spans have to be sent at exit."""

SILENT_SECONDS = 60.0
"""After a line that says that spans can't be sent."""


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
        self._complaints = Complaints()

    def __enter__(self) -> Self:
        if exports(os.environ):
            processor = BatchSpanProcessor(OTLPSpanExporter())
            self._provider.add_span_processor(processor)
            logger_of(OTLPSpanExporter).addFilter(self._complaints)

        return self

    def __exit__(self, *_: object) -> None:
        # Not in a thread of anyio's, which the process would wait for.
        ending = Thread(target=self._end, name="last traces", daemon=True)
        ending.start()
        ending.join(EXIT_SECONDS)

    def _end(self) -> None:
        self._provider.shutdown()
        logger_of(OTLPSpanExporter).removeFilter(self._complaints)


class Complaints(logging.Filter):
    """Lets one line pass, and no other for `SILENT_SECONDS`."""

    # While a collector is away, each batch of spans is tried again and again, and
    # every try is a line.

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._silent_until = -math.inf

    def filter(self, record: logging.LogRecord) -> bool:
        now = self._clock()
        if now < self._silent_until:
            return False

        self._silent_until = now + SILENT_SECONDS
        return True


def logger_of(kind: type) -> logging.Logger:
    return logging.getLogger(kind.__module__)


def resource(version: str) -> Resource:
    """Return who sends the spans; what `OTEL_…` variables say of it goes first."""
    own = {
        "service.name": SERVICE,
        "service.version": version,
        "service.instance.id": str(uuid4()),
    }
    return Resource.create(own).merge(OTELResourceDetector().detect())
