"""The key of an answer: what it depends on, and nothing else."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import anyio
import numpy as np
import pytest

from inference import CachePolicy, ModelId, ModelSpec, PredictRequest, Sampling
from service.caching import question
from service.caching.question import ON_LOOP_BYTES, ask, digest_of
from service.codecs.tfserving.request import decode
from tests.support.fakes import signature, tensor

MAIN = replace(
    signature(
        tensor("x"),
        tensor("z", default=np.zeros((), np.float32)),
        outputs=("y", "w"),
        name="main",
    ),
    repeatable=True,
)
OTHER = replace(MAIN, name="other")
DRAWING = replace(
    signature(
        tensor("x"),
        tensor("training", "bool", (), np.array(False)),
        tensor("seed", "int64", (), np.array(0)),
        name="drawing",
    ),
    seed="seed",
    repeatable=True,
)
POLICY = CachePolicy(
    model=ModelId("half", 1),
    digest="first",
    seconds=60,
    limit_seconds=30,
    default_signature="main",
    signatures={each.name: each for each in (MAIN, OTHER, DRAWING)},
)
REQUEST = PredictRequest(model=ModelSpec(name="m"), inputs={"x": [1.0, 2.0]})


async def key(
    request: PredictRequest = REQUEST, policy: CachePolicy = POLICY, form: str = "rows"
) -> str | None:
    asked = await ask(policy, request, form, anyio.CapacityLimiter(1))
    return None if asked is None else asked.key


def changed(**fields: Any) -> PredictRequest:
    return replace(REQUEST, **fields)


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(changed(inputs={"x": [1.0, 3.0]}), id="values"),
        pytest.param(changed(inputs={"x": [[1.0, 2.0]]}), id="shape"),
        pytest.param(changed(inputs={"x": [1.0, 2.0], "z": 0.0}), id="optional-input"),
        pytest.param(changed(signature="other"), id="signature"),
        pytest.param(changed(outputs=("w",)), id="outputs"),
        pytest.param(changed(top_k=2), id="top-k"),
    ],
)
async def test_other_requests_have_other_keys(request_: PredictRequest) -> None:
    assert await key(request_) != await key()


async def test_versions_and_forms_have_other_keys() -> None:
    keys = {
        await key(),
        await key(policy=replace(POLICY, digest="second")),
        await key(form="columns"),
    }

    assert len(keys) == 3


async def test_requests_that_mean_the_same_have_one_key() -> None:
    texts = [
        b'{"instances": [1.0, 2.0]}',
        b'{"instances":[1,2.000]}',
        b'{"signature_name": "main", "instances": [{"x": 1e0}, {"x": 2}]}',
        b'{"instances": [1.0, 2.0], "outputs": ["w", "y"]}',
        b'{"outputs": ["y", "w"], "instances": [1.0, 2.0]}',
    ]
    keys = set()

    for text in texts:
        call = decode(text)
        keys.add(
            await key(
                changed(
                    inputs=call.inputs,
                    signature=call.signature,
                    outputs=call.options.outputs,
                )
            )
        )

    assert keys == {await key()}


async def test_numbers_are_narrowed_by_their_text() -> None:
    # Just above the middle of two values of float32, and there as a double.
    call = decode(b'{"instances": [1.0000000596046447753906251]}')
    asked = await ask(
        POLICY,
        changed(inputs=call.inputs, exact=call.exact),
        "rows",
        anyio.CapacityLimiter(1),
    )

    assert asked is not None
    assert asked.request.inputs["x"].tolist() == [1 + 2.0**-23]


async def test_large_inputs_have_the_key_that_small_ones_would() -> None:
    values = np.arange(ON_LOOP_BYTES // 2, dtype=np.float32)
    asked = await ask(
        POLICY, changed(inputs={"x": values}), "rows", anyio.CapacityLimiter(1)
    )
    other = values.copy()
    other[-1] += 1

    assert values.nbytes > ON_LOOP_BYTES
    assert asked is not None
    assert asked.key == await key(changed(inputs={"x": values.copy()}))
    assert asked.key != await key(changed(inputs={"x": other}))


@pytest.mark.parametrize(
    ("sampling", "inputs", "kept"),
    [
        pytest.param(Sampling(), {}, True, id="off"),
        pytest.param(Sampling(training=False), {}, True, id="off-by-name"),
        pytest.param(Sampling(training=True), {}, False, id="on"),
        pytest.param(Sampling(samples=3), {}, False, id="samples"),
        pytest.param(Sampling(samples=3, seed=1), {}, True, id="samples-seeded"),
        pytest.param(Sampling(training=True, seed=1), {}, True, id="on-seeded"),
        pytest.param(Sampling(), {"training": True}, False, id="on-by-input"),
        pytest.param(
            Sampling(), {"training": True, "seed": 1}, True, id="on-by-input-seeded"
        ),
        pytest.param(Sampling(), {"training": False}, True, id="off-by-input"),
    ],
)
async def test_masks_of_the_servers_own_seed_are_never_cached(
    sampling: Sampling, inputs: dict[str, Any], kept: bool
) -> None:
    asked = changed(
        signature="drawing", sampling=sampling, inputs={"x": [1.0], **inputs}
    )

    assert (await key(asked) is not None) == kept


async def test_seeds_have_other_keys() -> None:
    keys = {
        await key(changed(signature="drawing", sampling=Sampling(samples=3, seed=seed)))
        for seed in range(3)
    }

    assert len(keys) == 3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param([b"ab", b"c"], [b"a", b"bc"], id="strings-joined"),
        pytest.param([b"", b"a"], [b"a", b""], id="empty-strings"),
    ],
)
def test_strings_are_told_apart(one: list[bytes], other: list[bytes]) -> None:
    arrays = (np.array(each, dtype=object) for each in (one, other))

    assert len({digest_of(b"", {"x": array}) for array in arrays}) == 2


async def test_many_strings_are_hashed_beside_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: list[int] = []
    hashed = question.digest_of

    def digest(head: bytes, inputs: dict[str, Any]) -> str:
        threads.append(threading.get_ident())
        return hashed(head, inputs)

    monkeypatch.setattr(question, "digest_of", digest)
    texts = replace(signature(tensor("x", "string"), name="main"), repeatable=True)
    policy = replace(POLICY, signatures={"main": texts})

    for count in (100, 100_000):
        await key(changed(inputs={"x": ["a"] * count}), policy)

    assert [each == threading.get_ident() for each in threads] == [True, False]


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "float16", "bfloat16", "float32", "complex64", "int64"]
)
def test_every_dtype_has_a_key(dtype: str) -> None:
    import ml_dtypes

    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    shapes = [(), (0,), (0, 3), (1,), (2, 3)]
    keys = {digest_of(b"", {"x": np.zeros(shape, kind)}) for shape in shapes}

    assert len(keys) == len(shapes)


def test_the_layout_in_memory_has_no_key_of_its_own() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)

    assert digest_of(b"", {"x": array}) == digest_of(
        b"", {"x": np.asfortranarray(array)}
    )
