"""Large work over HTTP: rows in, rows out."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
import pytest

from service.caching.cache import ResponseCache
from service.caching.memory import MemoryStore
from service.jobs.large import FAILED_ROWS, MOST_FAILED, PIECE_BYTES
from service.jobs.rows import NDJSON, NPY, NPZ
from tests.service.routes.test_jobs import PREDICT, ended, serving
from tests.support.fakes import FakeModel, X, signature, tensor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    import httpx

    from inference import Array

ROWS = 10_000
LINES = {"Prefer": "respond-async", "Content-Type": NDJSON}


def lines(values: list[Any]) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def halves(count: int) -> list[float]:
    """Return the fake model's answers to 0, 1, 2, …"""
    return [value * 0.5 + 2 for value in range(count)]


def unless_thirteen(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Fail as a model may for a row that it can't take."""
    if (inputs["x"] == 13).any():
        raise RuntimeError("thirteen")

    return {"y": inputs["x"] * np.float32(2)}


async def finished(
    client: httpx.AsyncClient, body: Any, **headers: str
) -> tuple[dict[str, Any], httpx.Response]:
    """The job of some rows once it has ended, and its result."""
    accepted = await client.post(PREDICT, content=body, headers={**LINES, **headers})
    assert accepted.status_code == 202, accepted.text
    job = await ended(client, accepted.headers["Location"])
    return job, await client.get(job["urls"]["result"])


def values(result: httpx.Response) -> list[Any]:
    return [json.loads(line) for line in result.content.splitlines()]


async def test_lines_are_answered_line_by_line(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        job, result = await finished(client, lines(list(range(ROWS))))

    assert job["status"] == "succeeded"
    assert job["progress"] == {"done": ROWS, "total": ROWS, "unit": "rows"}
    assert result.headers["Content-Type"] == NDJSON
    assert result.headers["Content-Length"] == str(len(result.content))
    assert result.headers[FAILED_ROWS] == "0"
    assert values(result) == halves(ROWS)


async def test_an_array_is_answered_row_by_row(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.arange(ROWS, dtype=np.float32))

    async with serving(tmp_path) as client:
        job, result = await finished(client, file.getvalue(), **{"Content-Type": NPY})

    assert job["progress"]["total"] == ROWS
    assert values(result) == halves(ROWS)


async def test_the_result_can_be_had_as_an_array(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        job, lines_first = await finished(client, lines(list(range(ROWS))))
        result = await client.get(job["urls"]["result"], headers={"Accept": NPY})

    assert lines_first.headers["Content-Type"] == NDJSON
    assert result.headers["Content-Type"] == NPY
    assert np.load(io.BytesIO(result.content)).tolist() == halves(ROWS)


def sums(inputs: Mapping[str, Array]) -> dict[str, Array]:
    return {"sum": inputs["a"] + inputs["b"], "first": inputs["a"]}


SUMS = signature(tensor("a"), tensor("b"), outputs=("sum", "first"))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
async def test_arrays_by_name_are_answered_row_by_row(
    tmp_path: Path, save: Callable[..., None]
) -> None:
    file = io.BytesIO()
    a, b = np.arange(ROWS, dtype=np.float32), np.ones(ROWS, np.float32)
    save(file, a=a, b=b)

    async with serving(
        tmp_path, FakeModel(function=sums, signatures=(SUMS,))
    ) as client:
        job, result = await finished(client, file.getvalue(), **{"Content-Type": NPZ})
        arrays = await client.get(job["urls"]["result"], headers={"Accept": NPZ})

    assert job["progress"] == {"done": ROWS, "total": ROWS, "unit": "rows"}
    assert values(result)[1] == {"sum": 2.0, "first": 1.0}
    assert arrays.headers["Content-Type"] == NPZ
    found = np.load(io.BytesIO(arrays.content))
    np.testing.assert_array_equal(found["sum"], a + 1)
    np.testing.assert_array_equal(found["first"], a)


async def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.savez_compressed(file, x=np.zeros(1 << 20, np.float32))

    async with serving(tmp_path, most=1 << 20) as client:
        packed = await client.post(
            PREDICT, content=file.getvalue(), headers={**LINES, "Content-Type": NPZ}
        )
        whole = await client.post(
            PREDICT,
            content=bytes((1 << 20) + 1),
            headers={**LINES, "Content-Type": NPZ},
        )

    for refused in (packed, whole):
        assert refused.status_code == 413
        assert "--max-jobs-bytes" in refused.json()["error"]

    assert list((tmp_path / "blobs").iterdir()) == []


async def test_a_result_without_numbers_is_no_array(tmp_path: Path) -> None:
    def names(inputs: Mapping[str, Array]) -> dict[str, Array]:
        return {"y": np.full(inputs["x"].shape, b"name", dtype=object)}

    async with serving(tmp_path, FakeModel(function=names)) as client:
        job, _ = await finished(client, b"1\n2\n")
        refused = await client.get(job["urls"]["result"], headers={"Accept": NPY})

        archive = await client.get(job["urls"]["result"], headers={"Accept": NPZ})

    assert refused.status_code == archive.status_code == 406
    assert "no numbers" in refused.json()["error"]
    assert "no numbers" in archive.json()["error"]


async def test_long_rows_without_numbers_are_no_array_either(tmp_path: Path) -> None:
    def names(inputs: Mapping[str, Array]) -> dict[str, Array]:
        return {"y": np.full((len(inputs["x"]), 9000), b"name", dtype=object)}

    async with serving(tmp_path, FakeModel(function=names)) as client:
        job, _ = await finished(client, b"1\n2\n")
        refused = [
            await client.get(job["urls"]["result"], headers={"Accept": kind})
            for kind in (NPY, NPZ)
        ]

    assert [each.status_code for each in refused] == [406, 406]


async def test_chunks_take_no_place_in_the_response_cache(tmp_path: Path) -> None:
    cache = ResponseCache(MemoryStore(1 << 20))
    model = FakeModel(cache_seconds=60, signatures=(replace(X, repeatable=True),))

    async with serving(tmp_path, model, cache=cache) as client:
        await finished(client, b"1\n2\n3\n")
        figures, outcomes = await cache.figures(), cache.outcomes
        await client.post(PREDICT, json={"instances": [1]})
        later = await cache.figures()

    assert figures is not None
    assert later is not None
    assert (figures.entries, later.entries) == (0, 1)
    assert outcomes["request"] > 0


async def test_a_body_without_a_length_is_kept_as_it_comes(tmp_path: Path) -> None:
    text = lines([float(value) for value in range(3 * PIECE_BYTES // 8)])

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(text), 100_001):
            yield text[start : start + 100_001]

    async with serving(tmp_path) as client:
        _, result = await finished(client, pieces())

    assert len(text) > 2 * PIECE_BYTES
    assert values(result) == halves(3 * PIECE_BYTES // 8)


async def test_a_failed_row_leaves_the_others(tmp_path: Path) -> None:
    async with serving(tmp_path, FakeModel(function=unless_thirteen)) as client:
        job, result = await finished(client, lines([1, 13, 2, "a", 13, 3]))

    found = values(result)
    assert job["status"] == "succeeded"
    assert result.headers[FAILED_ROWS] == "3"
    assert [found[0], found[2], found[5]] == [2.0, 4.0, 6.0]
    assert all(set(found[row]) == {"error"} for row in (1, 3, 4))
    assert "input 'x'" in found[3]["error"]


async def test_a_failed_row_of_an_array_leaves_the_others(tmp_path: Path) -> None:
    file = io.BytesIO()
    # Of another dtype than the model's.
    np.save(file, np.array([1, 13, 2, *range(20, 500)], np.int64))

    async with serving(tmp_path, FakeModel(function=unless_thirteen)) as client:
        job, result = await finished(client, file.getvalue(), **{"Content-Type": NPY})

    found = values(result)
    assert job["status"] == "succeeded"
    assert result.headers[FAILED_ROWS] == "1"
    assert set(found.pop(1)) == {"error"}
    assert found == [2.0 * row for row in (1, 2, *range(20, 500))]


async def test_too_many_failed_rows_fail_the_job(tmp_path: Path) -> None:
    body = lines([1, *["a"] * (MOST_FAILED + 1)])

    async with serving(tmp_path) as client:
        job, result = await finished(client, body)

    assert job["status"] == "failed"
    assert result.status_code == 400
    assert f"Row {MOST_FAILED + 2}: " in result.json()["error"]


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        pytest.param(b"", NDJSON, "no row", id="nothing"),
        pytest.param(b"1\n2\n{\n", NDJSON, "row 3 isn't JSON", id="no JSON"),
        pytest.param(b'"a"\n1\n', NDJSON, "input 'x'", id="the first row"),
        pytest.param(b"no array, but text", NPY, "isn't an .npy", id="no array"),
        pytest.param(b"no arrays, but text", NPZ, "isn't an .npz", id="no archive"),
    ],
)
async def test_bad_bodies_are_refused_now_and_not_kept(
    tmp_path: Path, body: bytes, kind: str, words: str
) -> None:
    async with serving(tmp_path) as client:
        refused = await client.post(
            PREDICT, content=body, headers={**LINES, "Content-Type": kind}
        )
        jobs = (await client.get("/v1/jobs")).json()["jobs"]

    assert refused.status_code == 400
    assert words in refused.json()["error"]
    assert jobs == []
    assert list((tmp_path / "blobs").iterdir()) == []


async def test_rows_need_a_job(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        refused = await client.post(
            PREDICT, content=b"1\n", headers={"Content-Type": NDJSON}
        )

    assert refused.status_code == 415
    assert "respond-async" in refused.json()["error"]


async def test_more_bytes_than_jobs_may_take_are_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, nbytes=2 * PIECE_BYTES) as client:
        refused = await client.post(
            PREDICT, content=b"1\n" * 2 * PIECE_BYTES, headers=LINES
        )

    assert refused.status_code == 429
    assert "--max-jobs-bytes" in refused.json()["error"]
    assert list((tmp_path / "blobs").iterdir()) == []


async def test_the_same_key_is_the_same_work(tmp_path: Path) -> None:
    keyed = {**LINES, "Idempotency-Key": '"mine"'}

    async with serving(tmp_path, runs=False) as client:
        first = await client.post(PREDICT, content=b"1\n2\n", headers=keyed)
        again = await client.post(PREDICT, content=b"1\n2\n", headers=keyed)
        other = await client.post(PREDICT, content=b"1\n3\n", headers=keyed)

    assert first.json()["id"] == again.json()["id"]
    assert other.status_code == 422
    assert [path.name for path in (tmp_path / "blobs").iterdir()] == [
        f"{first.json()['id']}.body"
    ]


async def test_a_signature_is_chosen_in_the_url(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        wrong = await client.post(
            f"{PREDICT}?signature_name=no", content=b"1\n", headers=LINES
        )
        right = await client.post(
            f"{PREDICT}?signature_name=serving_default", content=b"1\n", headers=LINES
        )

    assert wrong.status_code == 400
    assert right.json()["signature"] == "serving_default"


async def test_a_canceled_job_stops_and_leaves_no_file(tmp_path: Path) -> None:
    model = FakeModel(gate=anyio.Event())
    assert model.gate is not None

    async with serving(tmp_path, model) as client:
        accepted = await client.post(PREDICT, content=b"1\n2\n", headers=LINES)
        place = accepted.headers["Location"]
        await model.started.wait()
        canceled = await client.post(f"{place}/cancel")
        model.gate.set()
        _, result = await finished(client, b"4\n")

    assert canceled.json()["status"] == "canceled"
    assert values(result) == [4.0]
