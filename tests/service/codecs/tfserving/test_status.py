from __future__ import annotations

from dataclasses import replace

from inference import ModelState, QueueStats
from service.codecs.tfserving.status import (
    models_document,
    status_document,
)
from tests.support.fakes import FakeModel

OLD = FakeModel(
    name="a",
    version=1,
    concurrency=2,
    queue=QueueStats(running=1, waiting=3, tokens=1),
    labels=("canary", "stable"),
    pinned=True,
    integrity="verified",
    memory_bytes=4096,
    last_used=1_700_000_000.5,
).status
BROKEN = FakeModel(
    name="a", version=2, state=ModelState.END, error="custom layer 'Magic'"
).status
LOADING = FakeModel(name="b", state=ModelState.LOADING, stage="optimising").status


def test_status_is_tensorflow_servings_newest_first() -> None:
    assert status_document([OLD, BROKEN]) == {
        "model_version_status": [
            {
                "version": "2",
                "state": "END",
                "status": {
                    "error_code": "UNKNOWN",
                    "error_message": "custom layer 'Magic'",
                },
            },
            {
                "version": "1",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            },
        ],
        "ready": True,
    }
    assert status_document([BROKEN])["ready"] is False


def test_a_serving_version_is_ok_despite_a_failed_update() -> None:
    status = replace(OLD, update_error="the file is cut")

    [entry] = status_document([status])["model_version_status"]
    assert entry["state"] == "AVAILABLE"
    assert entry["status"] == {"error_code": "OK", "error_message": "the file is cut"}


def test_models_have_their_versions_and_urls() -> None:
    one, two = models_document([OLD, BROKEN, LOADING], "/prefix")

    assert (one["name"], two["name"]) == ("a", "b")
    assert one["predict"] == "/prefix/v1/models/a:predict"
    assert one["metadata"] == "/prefix/v1/models/a/metadata"
    assert [item["version"] for item in one["versions"]] == [1, 2]
    assert one["versions"][0] == {
        "version": 1,
        "state": "AVAILABLE",
        "format": "saved_model",
        "default_signature": "serving_default",
        "left_out": {},
        "error": None,
        "update_error": None,
        "labels": ["canary", "stable"],
        "pinned": True,
        "integrity": "verified",
        "memory_bytes": 4096,
        "last_used": "2023-11-14T22:13:20.500Z",
        "concurrency": 2,
        "load": {"running": 1, "waiting": 3, "orphans": 0, "tokens": 1},
        "predict": "/prefix/v1/models/a/versions/1:predict",
    }
    assert one["versions"][1]["error"] == "custom layer 'Magic'"
    assert one["versions"][1]["last_used"] is None
