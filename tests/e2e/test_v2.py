"""The Open Inference Protocol by a real server: tensors go in and come back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference import numpy_dtype
from service.codecs.v2.datatypes import DATATYPES
from tests.e2e.scales import IDENTITIES
from tests.e2e.sites import AUTHORIZED
from tests.support.v2 import LENGTH, as_bytes, binary_body, json_input, outputs_of

if TYPE_CHECKING:
    from inference import Array
    from tests.e2e.sites import Client, Site

pytestmark = pytest.mark.timeout(300)

URL = "/v2/models/identity/infer"
RANDOM = np.random.default_rng(11)
HALVES = {"float16", "bfloat16"}
SHAPES: list[tuple[int, ...]] = [
    *[(), (0,), (1,), (3,), (2, 0, 3), (5, 1), (2, 3), (1, 2, 3, 4), (2, 1, 1, 1, 2)],
    (700, 50),
]


@pytest.fixture(scope="module")
async def identity(living: Site) -> Site:
    living.bring("identity", "identity.pb")
    return living


@pytest.fixture
async def serving(identity: Site, client: Client) -> Client:
    await client.until("identity", state="AVAILABLE")
    return client


def tensor(dtype: str, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Return a tensor of any bits; those of JSON are numbers or not, but text."""
    if dtype == "string":
        count = int(np.prod(shape))
        array = np.empty(count, object)
        letters = ["", "a", "\0", "é", "\u2603", '"\\\n', "x" * 300]
        array[:] = [letters[n].encode() for n in random.integers(0, 7, count)]
        return array.reshape(shape)

    if dtype == "bool":
        return np.asarray(random.integers(0, 2, shape), bool)

    kind = numpy_dtype(dtype)
    nbytes = int(np.prod(shape)) * kind.itemsize
    return np.frombuffer(random.bytes(nbytes), kind).reshape(shape)


def tensors(seed: int) -> dict[str, Array]:
    """Return a tensor for each input, whose shapes change with `seed`."""
    random = np.random.default_rng(seed)
    return {
        dtype: tensor(dtype, SHAPES[(seed + number) % len(SHAPES)], random)
        for number, dtype in enumerate(IDENTITIES)
    }


def assert_equal(found: dict[str, Array], sent: dict[str, Array]) -> None:
    assert set(found) == {f"{name}_out" for name in sent}

    for name, array in sent.items():
        answer = found[f"{name}_out"]
        assert (answer.shape, answer.dtype) == (array.shape, array.dtype), name
        if array.dtype.kind == "f" or name == "bfloat16":
            # To the value: of numbers that are none there are many.
            with np.errstate(invalid="ignore"):
                left, right = answer.astype(np.float64), array.astype(np.float64)

            assert np.array_equal(left, right, equal_nan=True), name
        else:
            assert answer.tolist() == array.tolist(), name


@pytest.mark.parametrize("seed", range(len(SHAPES)))
async def test_any_tensor_comes_back_by_binary_data(serving: Client, seed: int) -> None:
    sent = tensors(seed)
    body, headers = binary_body(sent, parameters={"binary_data_output": True})

    response = await serving.post(URL, content=body, headers=headers)

    assert response.status_code == 200, response.text
    found = outputs_of(response)
    assert_equal(found, sent)
    # To the bit, those that are no numbers too.
    assert all(
        as_bytes(found[f"{name}_out"]) == as_bytes(array)
        for name, array in sent.items()
    )


@pytest.mark.parametrize("seed", range(len(SHAPES)))
@pytest.mark.parametrize("flat", [True, False], ids=["flat", "nested"])
async def test_any_tensor_comes_back_by_json(
    serving: Client, seed: int, flat: bool
) -> None:
    sent = tensors(seed)
    as_json = {k: v for k, v in sent.items() if k not in HALVES}
    # The protocol has no JSON of 16-bit floats: those go along as binary data.
    body, headers = binary_body({k: v for k, v in sent.items() if k in HALVES})
    size = int(headers[LENGTH])
    document: dict[str, Any] = json.loads(body[:size])
    document["inputs"] += [
        json_input(k, v, flat=flat or v.dtype == object) for k, v in as_json.items()
    ]
    document["outputs"] = [
        {"name": f"{k}_out", "parameters": {"binary_data": k in HALVES}} for k in sent
    ]
    head = json.dumps(document).encode()

    response = await serving.post(
        URL, content=head + body[size:], headers={**headers, LENGTH: str(len(head))}
    )

    assert response.status_code == 200, response.text
    assert_equal(outputs_of(response), sent)


async def test_a_long_tensor_comes_back(serving: Client) -> None:
    sent = {name: tensor(name, (0,), RANDOM) for name in IDENTITIES}
    sent["float32"] = RANDOM.random((3, 224, 224, 3), np.float32)
    body, headers = binary_body(sent, parameters={"binary_data_output": True})

    response = await serving.post(URL, content=body, headers=headers)

    assert_equal(outputs_of(response), sent)


async def test_metadata_of_a_real_model(serving: Client) -> None:
    document = (await serving.get("/v2/models/identity")).json()

    assert document["platform"] == "tensorflow_graphdef"
    found = {each["name"]: each["datatype"] for each in document["inputs"]}
    assert found == {dtype: DATATYPES[dtype] for dtype in IDENTITIES}


async def test_statistics_of_a_real_model(serving: Client, living: Site) -> None:
    living.bring("two", "counted.pb")
    await serving.until("counted", state="AVAILABLE")
    x = np.arange(3, dtype=np.float32)
    body = {"inputs": [json_input("x", x)]}

    for _ in range(2):
        await serving.post("/v2/models/counted/infer", json=body)

    # The short way of the other protocol counts as well.
    await serving.ask("counted")
    [found] = (await serving.get("/v2/models/counted/stats")).json()["model_stats"]

    assert (found["inference_count"], found["execution_count"]) == (7, 3)
    assert found["inference_stats"]["success"]["count"] == 3
    assert found["inference_stats"]["compute_infer"]["ns"] > 0
    assert {each["batch_size"] for each in found["batch_stats"]} == {1, 3}
    assert found["last_inference"] > 1_700_000_000_000
    assert found["memory_usage"][0]["byte_size"] > 0


async def test_a_model_is_unloaded_and_loaded(serving: Client, living: Site) -> None:
    living.bring("three", "fetched.pb")
    url = "/v2/repository/models/fetched"
    body = {"inputs": [json_input("x", np.ones(1, np.float32))]}

    refused = await serving.post(f"{url}/load", json={})
    loaded = await serving.post(f"{url}/load", json={}, headers=AUTHORIZED)
    ready = await serving.get("/v2/models/fetched/ready")
    answer = await serving.post("/v2/models/fetched/infer", json=body)
    unloaded = await serving.post(f"{url}/unload", json={}, headers=AUTHORIZED)
    gone = await serving.get("/v2/models/fetched/ready")

    assert refused.status_code == 401
    assert (loaded.status_code, ready.status_code) == (200, 200)
    assert outputs_of(answer)["y"].tolist() == [3.0]
    assert (unloaded.status_code, gone.status_code) == (200, 503)


X = np.arange(3, dtype=np.float32)
PLAIN: dict[str, Any] = {"inputs": [json_input("x", X)]}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(PLAIN, id="plain"),
        pytest.param({**PLAIN, "id": "a"}, id="with an id"),
        pytest.param({**PLAIN, "outputs": [{"name": "y"}]}, id="its output"),
        pytest.param({"inputs": [json_input("z", X)]}, id="unknown input"),
        pytest.param({"inputs": [json_input("x", X[None])]}, id="wrong shape"),
        pytest.param({"inputs": [json_input("x", -X)]}, id="refused by the model"),
        pytest.param({}, id="no inputs"),
        pytest.param(
            {**PLAIN, "parameters": {"binary_data_output": True}}, id="binary output"
        ),
        pytest.param(
            {
                **PLAIN,
                "outputs": [{"name": "y", "parameters": {"classification": 1}}],
            },
            id="classified",
        ),
    ],
)
async def test_the_short_way_answers_as_the_long_one(
    serving: Client, living: Site, body: dict[str, Any]
) -> None:
    living.bring("one", "short.pb")
    await serving.until("short", state="AVAILABLE")
    url = "/v2/models/short/infer"
    del serving.headers["Accept-Encoding"]

    short = await serving.post(url, json=body)
    long = await serving.post(url, json=body, headers={"Prefer": "wait=60"})

    assert (short.status_code, short.content) == (long.status_code, long.content)
    names = ("Content-Type", LENGTH, "X-Model-Version")
    heads = [[each.headers.get(name) for name in names] for each in (short, long)]
    assert heads[0] == heads[1]
