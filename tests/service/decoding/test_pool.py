from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
import orjson
import pytest
from anyio.lowlevel import checkpoint

from inference import InferenceError, Unavailable, bind
from service.codecs.tfserving.request import decode
from service.decoding.pool import SINGLE_MODEL_SECONDS, DecoderPool, TrafficMonitor
from service.decoding.process import COMMAND
from service.decoding.shared_memory import KEPT_BYTES
from tests.support.fakes import signature, tensor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from service.codecs.tfserving.request import PredictCall

ONE = signature(tensor("x"), name="one")
MANY = {
    item.name: item
    for item in (
        ONE,
        signature(tensor("x", "bfloat16"), tensor("s", "string"), name="two"),
        signature(tensor("x", "int64", (None,)), name="ids"),
        signature(tensor("x", "string"), name="text"),
        signature(tensor("x", "bool"), name="flags"),
    )
}
BODY = b'{"instances": [[1, 2.5]]}'


@pytest.fixture(scope="module")
async def decoders() -> AsyncIterator[DecoderPool]:
    async with DecoderPool(1) as decoders:
        yield decoders


def on_the_loop(body: bytes) -> Any:
    call = decode(body)
    chosen = MANY.get(call.signature or "one")
    return call._replace(inputs=bind(chosen, call.inputs) if chosen else {})


def contents(call: PredictCall) -> Any:
    inputs = [
        (name, array.dtype, array.shape, array.tolist())
        for name, array in call.inputs.items()
    ]
    return call.form, call.signature, inputs


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(BODY, id="numbers"),
        pytest.param(b'{"inputs": 5}', id="scalar"),
        pytest.param(b'{"instances": [{"x": 1}, {"x": 2}]}', id="objects"),
        pytest.param(
            b'{"signature_name": "two", "inputs": {"s": ["a", ""], "x": [[1]]}}',
            id="two inputs",
        ),
        pytest.param(
            b'{"signature_name": "text", "inputs": [["a", {"b64": "/+8="}]]}',
            id="strings",
        ),
        pytest.param(b'{"signature_name": "text", "inputs": []}', id="no strings"),
        pytest.param(b'{"signature_name": "text", "inputs": "a"}', id="a string"),
        pytest.param(b'{"signature_name": "flags", "inputs": [true]}', id="booleans"),
        pytest.param(
            b'{"signature_name": "ids", "inputs": [9007199254740993]}', id="int64"
        ),
        pytest.param(b'{"signature_name": "none", "inputs": [1]}', id="no signature"),
    ],
)
async def test_the_same_arrays_as_on_the_loop(
    decoders: DecoderPool, body: bytes
) -> None:
    call = await decoders.decode([body[:9], b"", body[9:]], MANY, "one", decode)

    assert contents(call) == contents(on_the_loop(body))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b'{"instances": [1', id="cut off"),
        pytest.param(b'{"instances": [1], "instances": [1]}', id="twice"),
        pytest.param(b'{"instances": [[1], [2, 3]]}', id="ragged"),
        pytest.param(b'{"instances": ["\xc3\xa9"]}', id="a string"),
        pytest.param(b'{"signature_name": "ids", "inputs": [1.5]}', id="fraction"),
        pytest.param(b'{"signature_name": "ids", "inputs": [[1]]}', id="shape"),
        pytest.param(b'{"inputs": {"y": 1}}', id="name"),
    ],
)
async def test_the_same_errors_as_on_the_loop(
    decoders: DecoderPool, body: bytes
) -> None:
    with pytest.raises(InferenceError) as wanted:
        on_the_loop(body)

    with pytest.raises(InferenceError) as caught:
        await decoders.decode([body], MANY, "one", decode)

    assert type(caught.value) is type(wanted.value)
    assert str(caught.value) == str(wanted.value)


async def test_large_bodies_and_arrays(decoders: DecoderPool) -> None:
    values = np.random.default_rng(1).random((50, 10_000)).astype(np.float32)
    body = orjson.dumps({"instances": values}, option=orjson.OPT_SERIALIZE_NUMPY)
    texts = orjson.dumps({"signature_name": "text", "inputs": ["é" * 99] * 20_000})

    numbers = await decoders.decode([body], MANY, "one", decode)
    strings = await decoders.decode([texts], MANY, "one", decode)

    np.testing.assert_array_equal(numbers.inputs["x"], values)
    assert strings.inputs["x"].tolist() == [("é" * 99).encode()] * 20_000


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the file in /proc")
async def test_the_memory_of_a_large_body_is_freed() -> None:
    body = b'{"instances": [%s]}' % b" ".join([b"1"] + [b" " * KEPT_BYTES])

    async with DecoderPool(1) as decoders:
        await decoders.decode([body], MANY, "one", decode)
        await decoders.decode([BODY], MANY, "one", decode)
        assert max(map(buffer_bytes, os.listdir("/proc/self/fd"))) < KEPT_BYTES


async def test_more_bodies_than_processes(decoders: DecoderPool) -> None:
    answers: dict[int, Any] = {}

    async def ask(number: int) -> None:
        body = b'{"instances": [%d]}' % number
        call = await decoders.decode([body], MANY, "one", decode)
        answers[number] = call.inputs["x"].tolist()

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(ask, number)

    assert answers == {number: [number] for number in range(20)}


async def test_a_cancelled_body_leaves_the_process_usable(tmp_path: Path) -> None:
    async with DecoderPool(1, command=noting(tmp_path)) as decoders:
        await decoders.decode([BODY], MANY, "one", decode)
        body = [b'{"instances": [', b"1,\n" * 100_000, b"1]}"]

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(decoders.decode, body, MANY, "one", decode)
            await checkpoint()
            await checkpoint()
            tasks.cancel_scope.cancel()

        call = await decoders.decode([BODY], MANY, "one", decode)

    assert call.inputs["x"].tolist() == [[1, 2.5]]
    assert len(pids(tmp_path)) == 1


async def test_a_process_lost_while_idle_costs_no_body(tmp_path: Path) -> None:
    async with DecoderPool(1, command=noting(tmp_path)) as decoders:
        await decoders.decode([BODY], MANY, "one", decode)
        os.kill(pids(tmp_path)[0], signal.SIGKILL)
        call = await decoders.decode([BODY], MANY, "one", decode)

    assert call.inputs["x"].tolist() == [[1, 2.5]]
    assert len(pids(tmp_path)) == 2


async def test_a_body_that_costs_two_processes_fails(tmp_path: Path) -> None:
    deadly = (
        "import signal; from service.codecs.tfserving import request; "
        "decode = request.decode; request.decode = lambda body: "
        "os.kill(os.getpid(), signal.SIGKILL) if b'deadly' in body else decode(body)"
    )
    async with DecoderPool(1, command=noting(tmp_path, deadly)) as decoders:
        await decoders.decode([BODY], MANY, "one", decode)

        with pytest.raises(Unavailable, match="was lost .it ended with -9.: send"):
            await decoders.decode([b'{"inputs": "deadly"}'], MANY, "one", decode)

        call = await decoders.decode([BODY], MANY, "one", decode)

    assert call.inputs["x"].tolist() == [[1, 2.5]]
    assert len(pids(tmp_path)) == 3


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("/does/not/exist",), id="absent"),
        pytest.param((sys.executable, "-c", "1"), id="ends at once"),
        pytest.param((sys.executable, "-c", "print('hello')"), id="talks nonsense"),
    ],
)
async def test_a_process_that_cannot_start_fails_its_body(
    command: tuple[str, ...],
) -> None:
    async with DecoderPool(1, command=command) as decoders:
        for _ in range(2):
            with pytest.raises(Unavailable, match="was lost"):
                await decoders.decode([BODY], MANY, "one", decode)


async def test_processes_end_with_the_context(tmp_path: Path) -> None:
    async with DecoderPool(2, command=noting(tmp_path)) as decoders:
        await decoders.decode([BODY], MANY, "one", decode)
        (pid,) = pids(tmp_path)
        os.kill(pid, 0)

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_process_ends_with_its_server() -> None:
    async with await anyio.open_process([*COMMAND, "0"]) as process:
        assert process.stdin is not None
        await process.stdin.aclose()
        assert await process.wait() == 0


def noting(folder: Path, change: str = "pass") -> tuple[str, ...]:
    """Return the real command, in a process that records its id and changes itself."""
    note = f"open({str(folder / 'pids')!r}, 'a').write(f'{{os.getpid()}} ')"
    run = "runpy.run_module('service.decoding.worker', run_name='__main__')"
    return (sys.executable, "-P", "-c", f"import os, runpy; {note}; {change}; {run}")


def buffer_bytes(fd: str) -> int:
    # Another test's descriptor may be closed meanwhile.
    with suppress(OSError):
        if "tandem-buffer" in os.readlink(f"/proc/self/fd/{fd}"):
            return os.fstat(int(fd)).st_size

    return 0


def pids(folder: Path) -> list[int]:
    return [int(word) for word in (folder / "pids").read_text().split()]


def test_single_model_after_a_while_without_others() -> None:
    now = [100.0]
    traffic = TrafficMonitor(lambda: now[0])

    traffic.record("light")
    traffic.record("heavy")
    assert not traffic.single_model()

    now[0] += SINGLE_MODEL_SECONDS
    traffic.record("heavy")
    assert not traffic.single_model()

    now[0] += 0.001
    traffic.record("heavy")
    assert traffic.single_model()

    traffic.record("light")
    assert not traffic.single_model()


def test_single_model_before_any_request() -> None:
    assert TrafficMonitor().single_model()
