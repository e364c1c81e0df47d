from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from service.payloads.record import to_json
from service.payloads.redaction import REDACTED, Redaction
from service.payloads.sinks import event
from tests.service.payloads.records import TRACE, body, record


def test_a_record_tells_request_and_answer() -> None:
    assert record().document() == {
        "time": "2026-01-02T03:04:05.000600Z",
        "model": "a b",
        "version": 2,
        "path": "/v1/models/a b:predict",
        "status": 200,
        "milliseconds": 1.234,
        "request_id": "one",
        "trace_id": TRACE,
        "request": {
            "content_type": "application/json",
            "bytes": 20,
            "json": {"instances": [1.0]},
        },
        "response": {
            "content_type": "application/json",
            "bytes": 22,
            "json": {"predictions": [2.0]},
        },
    }


@pytest.mark.parametrize(
    ("content", "changes", "why"),
    [
        (b"12", {"content": None, "nbytes": 99}, "too long"),
        (b"12", {"coding": "gzip"}, "compressed: gzip"),
        (b"12", {"head": "1"}, "binary tensors"),
        (b"\x93NUMPY", {"content_type": "application/x-npy"}, "not JSON"),
        (b"", {}, "not JSON"),
        (b"[" * 100_000, {}, "not JSON"),
    ],
)
def test_omitted_content_is_described(
    content: bytes, changes: dict[str, Any], why: str
) -> None:
    told = record(request=body(content, **changes)).document()["request"]

    assert told == {
        "content_type": changes.get("content_type", "application/json"),
        "bytes": changes.get("nbytes", len(content)),
        "sha256": hashlib.sha256(content).hexdigest(),
        "left_out": why,
    }


@pytest.mark.parametrize(
    "text", ['{"instances": [NaN]}', '{"instances": [36893488147419103232]}']
)
def test_numbers_that_json_has_not(text: str) -> None:
    told = json.loads(to_json(record(request=body(text.encode())).document()))

    assert told["request"]["json"]["instances"] in ([None], [36893488147419103232])


def test_redacted_values_are_nowhere() -> None:
    made = record(
        request=body(b'{"instances": ["secret"]}'),
        response=body(b'{"error": "secret is no number"}'),
        redaction=Redaction(names=frozenset({"age"})),
    )

    assert b"secret" not in to_json(made.document()) + event(made)
    assert made.document()["request"]["json"] == {"instances": REDACTED}
