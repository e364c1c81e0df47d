"""Records as they come from a tap."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from service.payloads.body import Body
from service.payloads.record import Record

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def body(sent: bytes, **changes: Any) -> Body:
    given: dict[str, Any] = {
        "content_type": "application/json",
        "coding": "",
        "head": "",
        "nbytes": len(sent),
        "digest": hashlib.sha256(sent).hexdigest(),
        "content": sent,
    }
    return Body(**given | changes)


def record(**changes: Any) -> Record:
    given: dict[str, Any] = {
        "time": datetime(2026, 1, 2, 3, 4, 5, 600, UTC),
        "seconds": 0.0012345,
        "path": "/v1/models/a b:predict",
        "model": "a b",
        "version": 2,
        "status": 200,
        "request_id": "one",
        "trace_id": TRACE,
        "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01",
        "request": body(b'{"instances": [1.0]}'),
        "response": body(b'{"predictions": [2.0]}'),
    }
    return Record(**given | changes)
