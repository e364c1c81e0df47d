"""Inference requests answered as jobs, and by the response cache."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.service.routes.test_jobs import serving as serving_jobs
from tests.service.routes.test_response_cache import cached_model
from tests.service.routes.test_response_cache import serving as serving_cached
from tests.support.v2 import LENGTH, binary_body, json_input, outputs_of

if TYPE_CHECKING:
    from pathlib import Path

URL = "/v2/models/half/infer"
X = np.array([1, 2], np.float32)
JSON_BODY = {"id": "a", "inputs": [json_input("x", X)]}


@pytest.mark.parametrize("form", ["JSON", "binary", "raw"])
async def test_a_jobs_result_is_the_very_answer(tmp_path: Path, form: str) -> None:
    asked = {"parameters": {"binary_data_output": True}}
    body, headers = binary_body({"x": X}, **asked)
    if form == "JSON":
        body, headers = (
            json.dumps(JSON_BODY).encode(),
            {"Content-Type": "application/json"},
        )
    elif form == "raw":
        body, headers = X.tobytes(), {LENGTH: "0"}

    async with serving_jobs(tmp_path) as client:
        answer = await client.post(URL, content=body, headers=headers)
        accepted = await client.post(
            URL, content=body, headers={**headers, "Prefer": "respond-async"}
        )
        result = await client.get(
            accepted.headers["Location"] + "/result", headers={"Prefer": "wait=30"}
        )

    assert accepted.status_code == 202
    assert (result.status_code, result.content) == (200, answer.content)
    assert result.headers["Content-Type"] == answer.headers["Content-Type"]
    assert result.headers.get(LENGTH) == answer.headers.get(LENGTH)
    assert outputs_of(result)["y"].tolist() == [2.5, 3.0]


async def test_a_body_that_is_wrong_becomes_no_job(tmp_path: Path) -> None:
    async with serving_jobs(tmp_path) as client:
        body = {"inputs": [json_input("z", X)]}
        response = await client.post(
            URL, json=body, headers={"Prefer": "respond-async"}
        )

    assert response.status_code == 400


async def test_one_key_for_two_lengths_of_a_head_is_a_conflict(tmp_path: Path) -> None:
    # A length that is that of whole numbers, too.
    bodies = (binary_body({"x": X}, id="i" * count) for count in range(4))
    body, headers = next(each for each in bodies if len(each[0]) % 4 == 0)
    headers |= {"Prefer": "respond-async", "Idempotency-Key": "k"}

    async with serving_jobs(tmp_path) as client:
        first = await client.post(URL, content=body, headers=headers)
        again = await client.post(URL, content=body, headers=headers)
        raw = await client.post(URL, content=body, headers={**headers, LENGTH: "0"})

    assert (first.status_code, again.status_code) == (202, 202)
    assert first.headers["Location"] == again.headers["Location"]
    assert raw.status_code == 422


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "JSON"])
async def test_a_kept_answer_has_the_id_of_the_request(binary: bool) -> None:
    asked = {"parameters": {"binary_data_output": binary}}

    async with serving_cached(cached_model()) as (client, engine):
        found = [
            await client.post(URL, json={**JSON_BODY, **asked, "id": id})
            for id in ("a", "", "longer")
        ]

    heads = []
    for each in found:
        size = int(each.headers.get(LENGTH, len(each.content)))
        heads.append(json.loads(each.content[:size]))
        assert outputs_of(each)["y"].tolist() == [2.5, 3.0]

    assert [head.get("id") for head in heads] == ["a", None, "longer"]
    assert found[2].headers["Cache-Status"].startswith("Tandem; hit")
    assert len(engine.requests) == 1


async def test_answers_of_another_form_are_kept_apart() -> None:
    forms: list[dict[str, Any]] = [
        {"parameters": {"binary_data_output": True}},
        {"outputs": [{"name": "y", "parameters": {"classification": 1}}]},
        {},
    ]

    async with serving_cached(cached_model()) as (client, engine):
        for form in forms * 2:
            await client.post(URL, json={**JSON_BODY, **form})

        stats = (await client.get("/v2/models/half/stats")).json()["model_stats"][0]

    assert len(engine.requests) == 3
    assert stats["inference_stats"]["cache_hit"]["count"] == 3
    assert stats["inference_stats"]["cache_miss"]["count"] == 3


async def test_both_protocols_answers_are_kept_apart() -> None:
    async with serving_cached(cached_model()) as (client, _):
        first = await client.post(
            "/v1/models/half:predict", json={"inputs": X.tolist()}
        )
        second = await client.post(URL, json=JSON_BODY)

    assert first.json() == {"outputs": [2.5, 3.0]}
    assert outputs_of(second)["y"].tolist() == [2.5, 3.0]
