from __future__ import annotations

from typing import Any

import pytest

from inference.errors import InvalidSidecar
from inference.limits import Batching, Limits
from inference.repository.sidecar import Sidecar, limits_with

SERVER = Limits(
    concurrency=3,
    intra_op_threads=2,
    max_queue=100,
    timeout_seconds=20.0,
    batching=Batching(max_rows=32, max_delay_seconds=0.002),
)


def merged(sidecar: dict[str, Any], server: Limits = SERVER) -> Limits:
    return limits_with(Sidecar.model_validate(sidecar), server)


def test_without_a_sidecar_the_servers_limits_hold() -> None:
    assert merged({}) == SERVER
    assert merged({}, Limits()) == Limits()


@pytest.mark.parametrize(
    ("sidecar", "field", "value"),
    [
        ({"concurrency": 7}, "concurrency", 7),
        ({"intra_op_threads": 5}, "intra_op_threads", 5),
        ({"max_queue": 9}, "max_queue", 9),
        ({"max_queue": 0}, "max_queue", 0),
        ({"timeout": 0.5}, "timeout_seconds", 0.5),
        ({"timeout": 500}, "timeout_seconds", 500),
    ],
)
def test_sidecar_overrides_the_server(
    sidecar: dict[str, Any], field: str, value: float
) -> None:
    limits = merged(sidecar)
    assert getattr(limits, field) == value

    for other in ("concurrency", "intra_op_threads", "max_queue", "timeout_seconds"):
        if other != field:
            assert getattr(limits, other) == getattr(SERVER, other)


@pytest.mark.parametrize(
    ("table", "batching"),
    [
        pytest.param(
            {"max_rows": 8},
            Batching(max_rows=8, max_delay_seconds=0.002),
            id="rows",
        ),
        pytest.param(
            {"max_delay_ms": 0},
            Batching(max_rows=32, max_delay_seconds=0),
            id="no delay",
        ),
        pytest.param(
            {"max_delay_ms": 7.5},
            Batching(max_rows=32, max_delay_seconds=0.0075),
            id="delay",
        ),
        pytest.param(
            {"allowed_rows": [1, 16]},
            Batching(max_rows=16, max_delay_seconds=0.002, allowed_rows=(1, 16)),
            id="the largest allowed is the most",
        ),
        pytest.param(
            {"allowed_rows": [4, 8], "max_rows": 8},
            Batching(max_rows=8, max_delay_seconds=0.002, allowed_rows=(4, 8)),
            id="both, alike",
        ),
    ],
)
def test_batching_of_the_sidecar(table: dict[str, Any], batching: Batching) -> None:
    assert merged({"batching": table}).batching == batching
    # The same words mean the same for one signature.
    one = merged({"batching": {"signatures": {"a": table}}})
    assert (one.batching, one.signatures) == (SERVER.batching, {"a": batching})


def test_signature_inherits_its_models_batching() -> None:
    table = {
        "allowed_rows": [2, 4],
        "max_delay_ms": 9,
        "signatures": {"a": {"max_delay_ms": 1}, "b": {"allowed_rows": [8]}},
    }
    limits = merged({"batching": table})

    assert limits.plans(["a", "b", "c"]) == {
        "a": Batching(max_rows=4, max_delay_seconds=0.001, allowed_rows=(2, 4)),
        "b": Batching(max_rows=8, max_delay_seconds=0.009, allowed_rows=(8,)),
        "c": Batching(max_rows=4, max_delay_seconds=0.009, allowed_rows=(2, 4)),
    }


@pytest.mark.parametrize(
    ("table", "place"),
    [
        pytest.param({"allowed_rows": [1, 4], "max_rows": 8}, "batching", id="model"),
        pytest.param(
            {"signatures": {"a": {"allowed_rows": [1, 4], "max_rows": 8}}},
            "batching.signatures.a",
            id="signature",
        ),
    ],
)
def test_contradictory_rows_are_refused(table: dict[str, Any], place: str) -> None:
    words = f"^'{place}': the largest of allowed_rows is 4, and max_rows is 8; they"

    with pytest.raises(InvalidSidecar, match=words):
        merged({"batching": table})


@pytest.mark.parametrize(("max_rows", "allowed"), [(8, (1, 4)), (4, (1, 4)), (3, (1,))])
def test_signature_inherits_allowed_rows_that_fit(
    max_rows: int, allowed: tuple[int, ...]
) -> None:
    table = {"allowed_rows": [1, 4], "signatures": {"a": {"max_rows": max_rows}}}
    plan = merged({"batching": table}).plans(["a"])["a"]
    assert (plan.max_rows, plan.allowed_rows) == (max_rows, allowed)


def test_unknown_signature_is_refused() -> None:
    limits = merged({"batching": {"signatures": {"clasify": {"max_rows": 2}}}})
    words = "^'batching.signatures.clasify': the model has no such signature; it has: "

    with pytest.raises(InvalidSidecar, match=words + r"classify, embed\.$"):
        limits.plans(["embed", "classify"])


@pytest.mark.parametrize(
    ("timeout", "deadline"),
    [
        pytest.param(None, 1020.0, id="the model's"),
        pytest.param(5.0, 1005.0, id="less"),
        pytest.param(500.0, 1020.0, id="more is the model's"),
        pytest.param(0.0, 1000.0, id="none"),
    ],
)
def test_request_timeout_only_shortens_the_deadline(
    timeout: float | None, deadline: float
) -> None:
    assert SERVER.deadline(1000.0, timeout) == deadline
