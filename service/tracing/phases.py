"""The parts of an answer's time, as spans."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from opentelemetry.trace import set_span_in_context

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

PHASES = ("decode", "queue", "compute", "encode")
"""In the order in which they come."""

_DURATION = re.compile(r"(\w+);dur=([0-9.]+)")
_NS = 1_000_000
"""Nanoseconds of a millisecond."""


def add_phases(tracer: Tracer, span: Span, server_timing: str) -> None:
    """Add a child for each phase that `Server-Timing` has of an answer made just now.

    Their lengths were measured; they are laid end to end, the last one up to now.
    """
    took = {name: float(text) for name, text in _DURATION.findall(server_timing)}
    lengths = [(name, round(took[name] * _NS)) for name in PHASES if name in took]
    start = time.time_ns() - sum(length for _, length in lengths)
    within = set_span_in_context(span)

    for name, length in lengths:
        child = tracer.start_span(name, within, start_time=start)
        start += length
        child.end(start)
