"""The probes' answers, and their reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from inference import ModelState
from service.codecs.health import (
    liveness_document,
    readiness_document,
    startup_document,
)
from tests.support.fakes import FakeModel

if TYPE_CHECKING:
    from inference import ModelStatus
    from service.codecs.health import Policy

OLD = FakeModel(name="a", version=1).status
BROKEN = FakeModel(
    name="a", version=2, state=ModelState.END, error="custom layer 'Magic'"
).status
LOADING = FakeModel(name="b", state=ModelState.LOADING, stage="optimising").status
UNLOADED = FakeModel(name="c", state=ModelState.END).status


def test_alive_while_the_engine_is() -> None:
    assert liveness_document(alive=True) == {"alive": True}
    dead = liveness_document(alive=False)
    assert dead["alive"] is False
    assert "restart the server" in dead["reason"]


def test_started_once_all_have_loaded_or_failed() -> None:
    assert startup_document([BROKEN], settled=True) == {"started": True}
    assert startup_document([OLD, LOADING, UNLOADED], settled=False) == {
        "started": False,
        "reason": "still loading: b/1",
    }


@pytest.mark.parametrize(
    ("statuses", "policy", "reason"),
    [
        pytest.param([], "any", "no model was found", id="none"),
        pytest.param([], "all", "no model was found", id="none of all"),
        pytest.param([BROKEN], "any", "failed to load: a/2", id="failed"),
        pytest.param([OLD, BROKEN], "all", "failed to load: a/2", id="one failed"),
        pytest.param([LOADING], "any", "still loading: b/1", id="came later"),
        pytest.param([UNLOADED], "any", "all are unloaded", id="unloaded"),
    ],
)
def test_not_ready_says_why(
    statuses: list[ModelStatus], policy: Policy, reason: str
) -> None:
    document = readiness_document(
        statuses, settled=True, draining=False, ready_when=policy
    )

    assert document["ready"] is False
    assert reason in document["reason"]


def test_no_model_is_explained_by_the_repositorys_problems() -> None:
    problems = ["two: broken link", "and more"]
    document = readiness_document(
        [], settled=True, draining=False, ready_when="any", problems=problems
    )

    assert document["reason"].endswith("repository: two: broken link")


def test_a_draining_server_says_so() -> None:
    document = readiness_document([OLD], settled=True, draining=True, ready_when="any")

    assert "draining" in document["reason"]


def test_a_long_list_is_cut_short() -> None:
    many = [
        FakeModel(name=f"m{number}", state=ModelState.LOADING).status
        for number in range(12)
    ]
    reason = startup_document(many, settled=False)["reason"]

    assert reason.endswith("m9/1 and 2 more")


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
    policies: tuple[Policy, ...] = ("any", "all", "always")
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
        "reason": "still loading: b/1",
        "ready_when": "any",
        "settled": False,
        "draining": False,
        "models": {
            "a/1": {"state": "AVAILABLE", "stage": "", "error": None},
            "a/2": {"state": "END", "stage": "", "error": "custom layer 'Magic'"},
            "b/1": {"state": "LOADING", "stage": "optimising", "error": None},
        },
    }
