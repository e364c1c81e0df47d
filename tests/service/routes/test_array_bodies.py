"""Bodies and answers of `application/x-npy` and `application/x-npz`."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Literal

import ml_dtypes
import numpy as np
import pytest

from inference import InvalidRequest, Ragged
from service.codecs.npy import encode_arrays
from service.jobs.rows import NPY, NPZ
from tests.support.clients import make_client
from tests.support.fakes import FakeEngine, FakeModel, signature, tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from inference import Array

PAIR = signature(tensor("a"), tensor("b", "int32"), outputs=("total", "file"))


def add(inputs: Mapping[str, Array]) -> dict[str, Array]:
    return {"total": inputs["a"] + inputs["b"], "file": inputs["b"]}


def echo(dtype: str) -> FakeModel:
    return FakeModel(
        signatures=(signature(tensor("x", dtype)),), function=lambda i: {"y": i["x"]}
    )


def npy(array: Array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


async def ask(
    model: FakeModel, body: Any, kind: str = NPY, accept: str = NPY, **flags: Any
) -> httpx.Response:
    headers = {"Content-Type": kind, "Accept": accept}
    async with make_client(FakeEngine(model), **flags) as client:
        return await client.post(
            "/v1/models/half:predict", content=body, headers=headers
        )


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "uint16", "int32", "uint64"]
)
@pytest.mark.parametrize("order", ["<", ">"])
async def test_an_array_comes_back_equal(dtype: str, order: Literal["<", ">"]) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)

    sent = npy(array.astype(array.dtype.newbyteorder(order)))
    response = await ask(echo(dtype), sent)

    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == NPY
    found = np.load(io.BytesIO(response.content))
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


async def test_numbers_are_cast_as_those_of_json_are() -> None:
    response = await ask(echo("float32"), npy(np.array([1.5, 1 / 3])))

    np.testing.assert_array_equal(
        np.load(io.BytesIO(response.content)), np.array([1.5, 1 / 3], np.float32)
    )


async def test_archives_have_an_array_an_input_and_an_output() -> None:
    model = FakeModel(signatures=(PAIR,), function=add)
    body = npz(a=np.array([0.5, 1.5]), b=np.array([1, 2]))

    response = await ask(model, body, NPZ, NPZ)

    found = np.load(io.BytesIO(response.content))
    assert response.headers["Content-Type"] == NPZ
    assert response.headers["X-Model-Version"] == "1"
    np.testing.assert_array_equal(found["total"], np.array([1.5, 3.5]))
    assert set(found.files) == {"total", "file"}


@pytest.mark.parametrize(
    ("kind", "body", "accept", "answer"),
    [
        pytest.param(
            NPY, npy(np.ones(2)), "*/*", b'{"predictions":[2.5,2.5]}', id="any"
        ),
        pytest.param(
            NPY,
            npy(np.ones(1)),
            f"{NPY};q=0.5, application/json",
            b'{"predictions":[2.5]}',
            id="rather JSON",
        ),
        pytest.param(
            "application/json",
            b'{"inputs": [1, 2]}',
            NPY,
            npy(np.array([2.5, 3], np.float32)),
            id="JSON in, an array out",
        ),
    ],
)
async def test_the_answer_is_as_the_client_accepts_it(
    kind: str, body: bytes, accept: str, answer: bytes
) -> None:
    response = await ask(FakeModel(), body, kind, accept)

    assert response.content == answer


@pytest.mark.parametrize(
    ("kind", "body", "status", "message"),
    [
        pytest.param(NPY, b"", 400, "cut short", id="empty"),
        pytest.param(NPY, b"not an array at all", 400, "isn't an .npy", id="no array"),
        pytest.param(
            NPY, npy(np.ones(9))[:-8], 400, "64 bytes of numbers", id="cut short"
        ),
        pytest.param(NPY, npy(np.ones(9)) + b"x", 400, "73 bytes", id="more"),
        pytest.param(
            NPY,
            npy(np.array(["a"], object)),
            400,
            "can't be sent",
            id="pickled objects",
        ),
        pytest.param(
            NPY,
            npy(np.asfortranarray(np.arange(6.0).reshape(2, 3))),
            400,
            "stored by columns",
            id="by columns",
        ),
        pytest.param(NPZ, npy(np.ones(2)), 400, "isn't an .npz", id="no archive"),
        pytest.param(
            NPZ, npz(z=np.ones(2)), 400, "does not have named input: z", id="unknown"
        ),
        pytest.param(
            NPZ, npz(x=np.zeros(50_000)), 413, "--max-inflated-bytes", id="too large"
        ),
    ],
)
async def test_other_bodies_are_refused(
    kind: str, body: bytes, status: int, message: str
) -> None:
    response = await ask(FakeModel(), body, kind, max_inflated_bytes=100_000)

    assert response.status_code == status
    assert message in response.json()["error"]


async def test_an_answer_over_the_limit_is_refused() -> None:
    response = await ask(FakeModel(), npy(np.ones(1000)), max_answer_bytes=100)

    assert response.status_code == 400
    assert "--max-answer-bytes" in response.json()["error"]


async def test_several_outputs_make_no_single_array() -> None:
    model = FakeModel(signatures=(PAIR,), function=add)
    body = npz(a=np.ones(2), b=np.ones(2, np.int32))

    response = await ask(model, body, NPZ, NPY)

    assert response.status_code == 400
    assert f"or send 'Accept: {NPZ}'" in response.json()["error"]


async def test_strings_make_no_array() -> None:
    response = await ask(echo("string"), b'{"inputs": ["a"]}', "application/json")

    assert response.status_code == 400
    assert "is of strings" in response.json()["error"]


def test_a_dtype_that_numpy_lacks_is_widened() -> None:
    content = encode_arrays(NPY, {"y": np.array([1.5], ml_dtypes.bfloat16)})

    assert np.load(io.BytesIO(content)).dtype == np.float32


def test_a_ragged_output_makes_no_array() -> None:
    ragged = Ragged(np.ones(1), (np.array([0, 1]),))

    with pytest.raises(InvalidRequest, match="is no array"):
        encode_arrays(NPZ, {"y": ragged})
