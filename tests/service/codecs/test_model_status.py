from __future__ import annotations

from dataclasses import replace

from inference import Load, ModelState
from service.codecs.model_status import (
    models_document,
    readiness_document,
    status_document,
)
from tests.service.fakes import FakeModel

OLD = replace(
    FakeModel(name="a", version=1).status,
    concurrency=2,
    load=Load(running=1, waiting=3, tokens=1),
)
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
        ]
    }


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
        "error": None,
        "concurrency": 2,
        "load": {"running": 1, "waiting": 3, "orphans": 0, "tokens": 1},
        "predict": "/prefix/v1/models/a/versions/1:predict",
    }
    assert one["versions"][1]["error"] == "custom layer 'Magic'"


def test_readiness_names_each_version() -> None:
    assert readiness_document([OLD, BROKEN, LOADING], False) == {
        "ready": False,
        "models": {
            "a/1": {"state": "AVAILABLE", "stage": "", "error": None},
            "a/2": {"state": "END", "stage": "", "error": "custom layer 'Magic'"},
            "b/1": {"state": "LOADING", "stage": "optimising", "error": None},
        },
    }
