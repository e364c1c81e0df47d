from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from inference import ModelState, QueueStats
from service.codecs.tfserving.status import (
    models_document,
    readiness_document,
    status_document,
)
from tests.support.fakes import FakeModel

if TYPE_CHECKING:
    from inference import ModelStatus
    from service.settings.settings import ReadyWhen

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


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("draining", [True, False])
def test_ready_is_settled_and_not_draining(settled: bool, draining: bool) -> None:
    document = readiness_document(
        [OLD], settled=settled, draining=draining, ready_when="any"
    )

    assert document["ready"] is (settled and not draining)
    assert document["draining"] is draining


@pytest.mark.parametrize(
    ("statuses", "settled", "ready"),
    [
        pytest.param([OLD], True, {"any", "all", "always"}, id="all can answer"),
        pytest.param([OLD, BROKEN], True, {"any", "always"}, id="one can answer"),
        pytest.param([BROKEN], True, {"always"}, id="none can answer"),
        pytest.param([], True, {"always"}, id="no model"),
        pytest.param([LOADING], True, {"all", "always"}, id="one came later"),
        pytest.param([OLD, LOADING], True, {"any", "all", "always"}, id="another came"),
        pytest.param([OLD, LOADING], False, {"always"}, id="one is loading"),
    ],
)
def test_ready_as_its_policy_has_it(
    statuses: list[ModelStatus], settled: bool, ready: set[str]
) -> None:
    policies: tuple[ReadyWhen, ...] = ("any", "all", "always")
    found = {
        policy
        for policy in policies
        if readiness_document(
            statuses, settled=settled, draining=False, ready_when=policy
        )["ready"]
    }
    assert found == ready


def test_readiness_names_each_version() -> None:
    document = readiness_document(
        [OLD, BROKEN, LOADING], settled=False, draining=False, ready_when="any"
    )

    assert document == {
        "ready": False,
        "ready_when": "any",
        "settled": False,
        "draining": False,
        "models": {
            "a/1": {"state": "AVAILABLE", "stage": "", "error": None},
            "a/2": {"state": "END", "stage": "", "error": "custom layer 'Magic'"},
            "b/1": {"state": "LOADING", "stage": "optimising", "error": None},
        },
    }
