from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from structlog.testing import capture_logs
from werkzeug.exceptions import ClientDisconnected, Conflict

import inference
from inference import InferenceError
from service.telemetry.logs import add_request_id
from service.web.errors import STATUSES, status_of
from tests.support.clients import make_app, make_client, open_client
from tests.support.fakes import FakeEngine, FakeModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from flask import Response

    from inference import Array

# Deliberately answered as their bases are.
INHERITED = {
    inference.UnknownSignature: 400,
    inference.InputMismatch: 400,
    inference.VersionNotFound: 404,
    inference.LabelNotFound: 404,
    inference.InvalidSidecar: 500,
    inference.InsufficientMemory: 503,
    inference.LoadFailed: 503,
    inference.ModelLoading: 503,
    inference.ModelUnloaded: 503,
}


def tree(error: type[InferenceError]) -> Iterator[type[InferenceError]]:
    for child in error.__subclasses__():
        yield child
        yield from tree(child)


def ours() -> set[type[InferenceError]]:
    return {error for error in tree(InferenceError) if error.__module__ != __name__}


def name_of(error: type[InferenceError]) -> str:
    return error.__name__


CLASSES: list[type[InferenceError]] = sorted(ours(), key=name_of)


def test_the_table_is_complete() -> None:
    assert ours() == STATUSES.keys() | INHERITED.keys()
    assert STATUSES.keys().isdisjoint(INHERITED)


@pytest.mark.parametrize(("error", "status"), INHERITED.items())
def test_inherited_statuses(error: type[InferenceError], status: int) -> None:
    assert status_of(error) == status


def test_an_error_without_a_status_is_500() -> None:
    class Unheard(InferenceError):
        pass

    assert status_of(Unheard) == 500


@pytest.mark.parametrize("error", CLASSES)
async def test_every_error_of_the_engine_is_answered(
    error: type[InferenceError],
) -> None:
    def fail(inputs: Mapping[str, Array]) -> dict[str, Array]:
        raise error("what went wrong")

    async with make_client(FakeEngine(FakeModel(function=fail))) as client:
        response = await client.post(
            "/v1/models/half:predict", json={"instances": [1.0]}
        )

    assert response.status_code == status_of(error)
    assert response.json().keys() == {"error"}
    assert response.json()["error"].endswith("what went wrong")
    assert response.headers["content-type"] == "application/json"
    seconds = {
        inference.ModelLoading: "2",
        inference.Overloaded: "1",
        inference.InsufficientMemory: "5",
    }
    assert response.headers.get("Retry-After") == seconds.get(error)


async def test_memory_that_lacks_beside_the_model_is_told_as_such() -> None:
    def fail(inputs: Mapping[str, Array]) -> dict[str, Array]:
        np.empty(2**62, np.uint8)
        return {}

    async with make_client(FakeEngine(FakeModel(function=fail))) as client:
        response = await client.post(
            "/v1/models/half:predict", json={"instances": [1.0]}
        )

    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert "too little memory for this request. Send fewer rows" in response.text


async def test_retry_after_is_in_whole_seconds_and_not_too_soon() -> None:
    def fail(inputs: Mapping[str, Array]) -> dict[str, Array]:
        raise inference.Overloaded("full", retry_after=2.1)

    async with make_client(FakeEngine(FakeModel(function=fail))) as client:
        response = await client.post(
            "/v1/models/half:predict", json={"instances": [1.0]}
        )

    assert (response.status_code, response.headers["Retry-After"]) == (429, "3")


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("/v1/models/half/predict", "POST /v1/models/half:predict"),
        ("/v1/models/half:clasify", "POST /v1/models/half:classify"),
        ("/v1/models/half:Predict", "POST /v1/models/half:predict"),
        ("/v3/models/half", "GET /v2/models/half"),
        ("/v1/model", "GET /v1/models"),
        ("/v1/models/half/metadat", "GET /v1/models/half/metadata"),
        (
            "/v1/models/half/version/1:predict",
            "POST /v1/models/half/versions/<version>:predict",
        ),
        ("/live", "GET /livez"),
        ("/metric", "GET /metrics"),
    ],
)
async def test_an_unknown_url_names_the_nearest(path: str, near: str) -> None:
    async with make_client(FakeEngine()) as client:
        response = await client.get(path)

    text = f"There is no {path} here. Did you mean {near}? GET / lists all URLs."
    malformed = path.startswith("/v1/")
    assert response.status_code == (400 if malformed else 404)
    assert response.json() == {
        "error": f"Malformed request: GET {path}: {text}" if malformed else text
    }


async def test_an_unknown_url_that_is_near_to_none_says_where_the_list_is() -> None:
    async with make_client(FakeEngine()) as client:
        response = await client.get("/qqqq")

    assert response.json() == {"error": "There is no /qqqq here. GET / lists all URLs."}


async def test_a_long_url_is_truncated() -> None:
    async with make_client(FakeEngine()) as client:
        response = await client.get("/" + "x" * 10_000)

    assert len(response.text) < 1000


async def test_a_wrong_method_names_the_right_one() -> None:
    async with make_client(FakeEngine()) as client:
        response = await client.get("/v1/models/half:predict")

    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) == {"OPTIONS", "POST"}
    assert response.json() == {
        "error": "GET is not allowed at /v1/models/half:predict: use POST"
    }


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_body_names_the_limit(chunked: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b" " * 51
        yield b" " * 50

    engine = FakeEngine(FakeModel())
    async with make_client(engine, max_body_bytes=100) as client:
        response = await client.post(
            "/v1/models/half:predict", content=chunks() if chunked else b" " * 101
        )
        next_one = await client.post(
            "/v1/models/half:predict", content=b'{"instances": [1.0]}'.ljust(100)
        )

    text = response.json()["error"]
    assert response.status_code == 413
    assert "over the limit of 100 bytes" in text
    assert "--max-body-bytes or TANDEM_MAX_BODY_BYTES" in text
    assert ("of 101 bytes" in text) is not chunked
    assert next_one.status_code == 200


async def test_other_http_errors_keep_status_and_text() -> None:
    app = make_app(FakeEngine())

    @app.get("/conflict")
    async def conflict() -> Response:
        raise Conflict("twice")

    async with open_client(app) as client:
        response = await client.get("/conflict")

    assert (response.status_code, response.json()) == (409, {"error": "twice"})


async def test_a_bug_is_logged_and_answered_with_the_request_id() -> None:
    def fail(inputs: Mapping[str, Array]) -> dict[str, Array]:
        raise RuntimeError("secret")

    engine = FakeEngine(FakeModel(function=fail))
    with capture_logs(processors=[add_request_id]) as lines:
        async with make_client(engine) as client:
            response = await client.post(
                "/v1/models/half:predict",
                json={"instances": [1.0]},
                headers={"X-Request-ID": "abc"},
            )

    assert response.status_code == 500
    assert response.json()["error"].endswith("under request id abc")
    assert "secret" not in response.text
    assert repr(lines[0]["exc_info"]) == "RuntimeError('secret')"
    assert [line["request_id"] for line in lines] == ["abc", "abc"]


@pytest.mark.parametrize(
    ("error", "logged"),
    [
        pytest.param(inference.ExecutionFailed, True, id="ours"),
        pytest.param(inference.InputMismatch, False, id="the client's"),
        pytest.param(inference.LoadFailed, False, id="known since loading"),
    ],
)
async def test_server_errors_of_the_engine_are_logged(
    error: type[InferenceError], logged: bool
) -> None:
    def fail(inputs: Mapping[str, Array]) -> dict[str, Array]:
        raise error("text") from ValueError("the cause")

    with capture_logs() as lines:
        async with make_client(FakeEngine(FakeModel(function=fail))) as client:
            await client.post("/v1/models/half:predict", json={"instances": [1.0]})

    causes = [line["exc_info"].__cause__ for line in lines if "exc_info" in line]
    assert [str(cause) for cause in causes] == ["the cause"] * logged


async def test_a_disconnect_while_sending_is_not_a_bad_request() -> None:
    app = make_app(FakeEngine())

    @app.get("/gone")
    async def gone() -> Response:
        raise ClientDisconnected()

    with capture_logs() as lines:
        async with open_client(app) as client:
            await client.get("/gone")

    assert [line["status"] for line in lines] == [499]
