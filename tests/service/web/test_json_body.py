from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

import anyio
import numpy as np
import orjson
import pytest

from tests.support.clients import make_client
from tests.support.fakes import FakeEngine, FakeModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

PREDICT = "/v1/models/half:predict"
BODY = b'{"instances": [1.0]}'


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none"),
        pytest.param({"Content-Type": "application/json"}, id="JSON"),
        pytest.param({"Content-Type": "application/json; charset=utf-8"}, id="charset"),
        pytest.param({"Content-Type": "application/vnd.x+json"}, id="a kind of JSON"),
        pytest.param({"Content-Type": "application/x-www-form-urlencoded"}, id="curl"),
        pytest.param({"Content-Type": "text/plain;charset=UTF-8"}, id="fetch()"),
        pytest.param({"Content-Encoding": "identity"}, id="identity"),
    ],
)
async def test_accepted(headers: dict[str, str]) -> None:
    async with make_client(FakeEngine(FakeModel())) as client:
        response = await client.post(PREDICT, content=BODY, headers=headers)

    assert response.json() == {"predictions": [2.5]}


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        pytest.param(
            {"Content-Type": "audio/wav"},
            "the body is of type 'audio/wav': send JSON, with the header"
            " 'Content-Type: application/json'",
            id="a sound",
        ),
        pytest.param({"Content-Type": "text/xml"}, "of type 'text/xml'", id="XML"),
        pytest.param(
            {"Content-Type": "multipart/form-data; traversal=x"},
            "of type 'multipart/form-data'",
            id="a file upload",
        ),
        pytest.param(
            {"Content-Encoding": "br"},
            "the body is encoded as 'br': send it as gzip or deflate, or without",
            id="brotli",
        ),
    ],
)
async def test_refused(headers: dict[str, str], message: str) -> None:
    async with make_client(FakeEngine(FakeModel())) as client:
        response = await client.post(PREDICT, content=BODY, headers=headers)
        next_one = await client.post(PREDICT, content=BODY)

    assert response.status_code == 415
    assert message in response.json()["error"]
    assert next_one.status_code == 200


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        pytest.param("gzip", gzip.compress(BODY), id="gzip"),
        pytest.param("my_gzip", gzip.compress(BODY), id="tfs 105"),
        pytest.param("x-gzip", gzip.compress(BODY), id="x-gzip"),
        pytest.param("deflate", zlib.compress(BODY), id="deflate"),
        pytest.param(
            "gzip",
            gzip.compress(BODY[:9]) + gzip.compress(BODY[9:]),
            id="two members",
        ),
    ],
)
async def test_compressed_bodies_are_inflated(encoding: str, body: bytes) -> None:
    headers = {"Content-Encoding": encoding}
    async with make_client(FakeEngine(FakeModel())) as client:
        response = await client.post(PREDICT, content=body, headers=headers)

    assert response.json() == {"predictions": [2.5]}


async def test_a_long_compressed_body_is_inflated_in_pieces() -> None:
    rows = np.random.default_rng(0).random(100_000).round(3).tolist()
    content = gzip.compress(orjson.dumps({"instances": rows}))

    async with make_client(FakeEngine(FakeModel())) as client:
        response = await client.post(
            PREDICT, content=content, headers={"Content-Encoding": "gzip"}
        )

    np.testing.assert_allclose(
        response.json()["predictions"], np.array(rows) / 2 + 2, rtol=1e-6
    )


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        pytest.param(BODY, 400, "isn't what its Content-Encoding says", id="tfs 106"),
        pytest.param(
            gzip.compress(BODY)[:-9], 400, "ends before its compressed", id="cut short"
        ),
        pytest.param(
            gzip.compress(b" " * 5_000_000), 413, "--max-inflation-ratio", id="a bomb"
        ),
        pytest.param(
            gzip.compress(np.random.default_rng(0).bytes(1_500_001)),
            413,
            "over the limit of 1500000 bytes once it is inflated: send fewer rows at a"
            " time, or raise the limit with --max-inflated-bytes",
            id="too large",
        ),
        pytest.param(b"", 400, "The document is empty", id="empty"),
    ],
)
async def test_compressed_bodies_that_are_refused(
    body: bytes, status: int, message: str
) -> None:
    headers = {"Content-Encoding": "gzip"}
    engine = FakeEngine(FakeModel())
    async with make_client(engine, max_inflated_bytes=1_500_000) as client:
        response = await client.post(PREDICT, content=body, headers=headers)
        next_one = await client.post(PREDICT, content=BODY)

    assert response.status_code == status
    assert message in response.json()["error"]
    assert next_one.status_code == 200


async def test_an_inflated_body_counts_for_the_bodies_held() -> None:
    gate = anyio.Event()
    model = FakeModel(gate=gate)
    body = gzip.compress(BODY + b" " * 10_000)
    responses: list[httpx.Response] = []

    async with make_client(FakeEngine(model), max_bodies_bytes=10_100) as client:

        async def send(content: bytes, headers: dict[str, str]) -> None:
            responses.append(
                await client.post(PREDICT, content=content, headers=headers)
            )

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send, body, {"Content-Encoding": "gzip"})
            await model.started.wait()
            await send(BODY, {})
            gate.set()

    assert [each.status_code for each in responses] == [503, 200]
    assert "--max-bodies-bytes" in responses[0].json()["error"]


async def test_a_chunked_body_may_be_as_large_as_the_limit() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield BODY
        yield b" " * 80

    async with make_client(FakeEngine(FakeModel()), max_body_bytes=100) as client:
        response = await client.post(PREDICT, content=chunks())

    assert response.json() == {"predictions": [2.5]}
