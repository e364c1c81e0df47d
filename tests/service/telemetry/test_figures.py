from __future__ import annotations

import orjson
import pytest

from service.telemetry.figures import (
    Distribution,
    Exemplar,
    Figures,
    dump,
    merge,
    of_models,
    parse,
    remains,
)

ONE: Figures = {
    "tandem_requests": {("a", "1", "v1", "200"): 3.0},
    "tandem_request_duration_seconds": {
        ("a", "1", "v1"): Distribution((1, 2), 0.5, {1: Exemplar("old", 0.2, 10.0)})
    },
    "tandem_model_state": {("a", "1", "AVAILABLE"): 1.0},
    "tandem_repository_up": {(): 1.0},
    "tandem_models_memory_bytes": {(): 10.0},
}
OTHER: Figures = {
    "tandem_requests": {("a", "1", "v1", "200"): 4.0, ("b", "1", "v2", "429"): 1.0},
    "tandem_request_duration_seconds": {
        ("a", "1", "v1"): Distribution((0, 5), 1.0, {1: Exemplar("new", 0.3, 20.0)})
    },
    "tandem_model_state": {("a", "1", "AVAILABLE"): 0.0},
    "tandem_repository_up": {(): 0.0},
    "tandem_models_memory_bytes": {(): 32.0},
}


def test_figures_of_processes_add_up() -> None:
    assert merge([ONE, OTHER]) == {
        "tandem_requests": {("a", "1", "v1", "200"): 7, ("b", "1", "v2", "429"): 1},
        "tandem_request_duration_seconds": {
            ("a", "1", "v1"): Distribution((1, 7), 1.5, {1: Exemplar("new", 0.3, 20.0)})
        },
        "tandem_model_state": {("a", "1", "AVAILABLE"): 1},
        "tandem_repository_up": {(): 0},
        "tandem_models_memory_bytes": {(): 42},
    }
    assert ONE["tandem_requests"] == {("a", "1", "v1", "200"): 3}


def test_an_ended_process_leaves_its_counters() -> None:
    assert remains(ONE).keys() == {"tandem_requests", "tandem_request_duration_seconds"}


@pytest.mark.parametrize("figures", [ONE, OTHER, {}], ids=["one", "other", "none"])
def test_json_gives_the_same_figures(figures: Figures) -> None:
    assert parse(dump(figures)) == figures


def test_json_of_another_release_is_left_out() -> None:
    unknown = orjson.dumps({"format": 1, "figures": {"tandem_new": [[[], 1]]}})

    assert parse(orjson.dumps({"format": 2, "figures": 3})) == {}
    assert parse(unknown) == {}


def test_figures_of_models_that_are_gone_are_left_out() -> None:
    figures: Figures = {
        "tandem_requests": {
            (*model, "v1", "404"): 1.0
            for model in (("a", "1"), ("a", "2"), ("a", ""), ("b", ""), ("", ""))
        },
        "tandem_refusals": {("queue_full", name): 1.0 for name in ("", "a", "b")},
        "tandem_build_info": {("1.2",): 1.0},
    }
    kept = of_models(figures, {("a", "1")})

    assert [labels[:2] for labels in kept["tandem_requests"]] == [
        *(("a", "1"), ("a", ""), ("", ""))
    ]
    assert [labels[1] for labels in kept["tandem_refusals"]] == ["", "a"]
    assert kept["tandem_build_info"] == {("1.2",): 1}
