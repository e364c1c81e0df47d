from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.clients import make_client
from tests.support.fakes import FakeEngine, FakeModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

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
            {"Content-Type": "image/png"},
            "the body is of type 'image/png': send JSON, with the header"
            " 'Content-Type: application/json'",
            id="an image",
        ),
        pytest.param({"Content-Type": "text/xml"}, "of type 'text/xml'", id="XML"),
        pytest.param(
            {"Content-Type": "multipart/form-data; traversal=x"},
            "of type 'multipart/form-data'",
            id="a file upload",
        ),
        pytest.param(
            {"Content-Encoding": "br"},
            "the body is encoded as 'br': send it without Content-Encoding",
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


async def test_a_chunked_body_may_be_as_large_as_the_limit() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield BODY
        yield b" " * 80

    async with make_client(FakeEngine(FakeModel()), max_body_bytes=100) as client:
        response = await client.post(PREDICT, content=chunks())

    assert response.json() == {"predictions": [2.5]}
