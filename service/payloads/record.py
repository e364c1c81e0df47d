"""One prediction, as the payload log tells it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from service.payloads.redaction import Redaction

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from service.payloads.body import Body

PLAIN_CODING = ("", "identity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A prediction's request and answer, noted as they passed."""

    time: datetime
    seconds: float
    path: str
    model: str
    version: int | None
    status: int
    request_id: str
    trace_id: str | None
    traceparent: str | None
    request: Body
    response: Body
    redaction: Redaction = Redaction()

    def document(self) -> dict[str, Any]:
        """Return the record as JSON has it."""
        trace = {} if self.trace_id is None else {"trace_id": self.trace_id}
        return {
            "time": self.time.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "model": self.model,
            "version": self.version,
            "path": self.path,
            "status": self.status,
            "milliseconds": round(self.seconds * 1000, 3),
            "request_id": self.request_id,
            **trace,
            "request": _told(self.request, self.redaction.request),
            "response": _told(self.response, self.redaction.response),
        }


def _told(body: Body, redacted: Callable[[Any], Any]) -> dict[str, Any]:
    """Return a body's JSON, or what it is and why it was left out."""
    told = {"content_type": body.content_type, "bytes": body.nbytes}
    why = _reason(body)
    if why is None:
        try:
            return {**told, "json": redacted(_parse(body.content or b""))}
        except (ValueError, RecursionError):
            why = "not JSON"

    return {**told, "sha256": body.digest, "left_out": why}


def _reason(body: Body) -> str | None:
    """Return why a body can't be told, before it is read."""
    if body.content is None:
        return "too long"

    if body.coding.lower() not in PLAIN_CODING:
        return f"compressed: {body.coding}"

    return "binary tensors" if body.head else None


def _parse(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        # NaN and Infinity, which both protocols take.
        return json.loads(content)


def to_json(document: Any) -> bytes:
    """Return a document in one line."""
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:
        # Integers beyond 64 bits, or documents that are very deep.
        return json.dumps(document).encode()
