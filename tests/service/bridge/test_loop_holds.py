"""The times that bodies and answers of 20 MB hold the event loop."""

from __future__ import annotations

import gc
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
import orjson
import pytest

from inference import ModelSpec
from service.decoding.pool import DecoderPool
from service.prediction import predict
from tests.support.fakes import FakeEngine, FakeModel, signature, tensor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping

SIZE = 20_000_000
PIECE = 1 << 18  # as they come from a socket
HALF = ModelSpec(name="half")
TICK_SECONDS = 0.0005
RANDOM = np.random.default_rng(1)
CLIENTS = 2


@pytest.fixture(autouse=True)
def frozen() -> None:
    """Freeze the garbage collector's objects, as a server does after loading."""
    # They stay so: in other tests it would look through all that was imported, too.
    gc.collect()
    gc.freeze()


@dataclass
class Hold:
    """The longest time that the loop was held, in seconds.

    `computing` leaves out the time in which other processes ran.
    """

    longest: float = 0.0
    computing: float = 0.0

    async def watch(self) -> None:
        while True:
            before, busy = time.perf_counter(), time.thread_time()
            await anyio.sleep(TICK_SECONDS)
            self.longest = max(self.longest, time.perf_counter() - before)
            self.computing = max(self.computing, time.thread_time() - busy)


@asynccontextmanager
async def watched() -> AsyncIterator[Hold]:
    hold = Hold()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hold.watch)
        await anyio.sleep(0.01)
        yield hold
        await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()


def numbers() -> bytes:
    values = RANDOM.random((14, 224, 224, 3)).round(7)
    return orjson.dumps({"instances": values}, option=orjson.OPT_SERIALIZE_NUMPY)


def objects() -> bytes:
    """Return objects so short that they take the slow path."""
    rows = [{"x": row} for row in RANDOM.random((400_000, 4)).round(7).tolist()]
    return orjson.dumps({"instances": rows})


def strings() -> bytes:
    text = "QUJD" * 250
    return orjson.dumps({"instances": [{"x": {"b64": text}}] * (SIZE // 1015)})


def first(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"y": np.asarray(inputs["x"].ravel()[:1])}


def large(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"y": np.broadcast_to(RANDOM.random(1000, np.float32), (2000, 1000))}


async def hold_of(count: int, action: Callable[[], Coroutine[Any, Any, Any]]) -> Hold:
    async with watched() as hold, anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(action)

    return hold


@pytest.mark.parametrize(
    ("make", "dtype", "function"),
    [
        pytest.param(numbers, "float32", first, id="numbers"),
        pytest.param(objects, "float32", first, id="objects"),
        pytest.param(strings, "string", first, id="strings"),
    ],
)
async def test_large_bodies(make: Any, dtype: str, function: Any) -> None:
    engine = FakeEngine(
        FakeModel(signatures=(signature(tensor("x", dtype)),), function=function)
    )
    body = make()
    assert len(body) > SIZE * 0.9
    pieces = [body[i : i + PIECE] for i in range(0, len(body), PIECE)]

    on_loop = await hold_of(1, partial(predict, engine, HALF, pieces))
    async with DecoderPool(2) as decoders:
        held = await hold_of(CLIENTS, partial(predict, engine, HALF, pieces, decoders))

    report(f"{CLIENTS} bodies of {len(body)} bytes", held, on_loop)
    assert len(engine.requests) == 1 + CLIENTS
    assert held.computing < on_loop.computing / 10


async def test_a_large_answer() -> None:
    engine = FakeEngine(FakeModel(function=large))
    values = large({})["y"]
    write = partial(orjson.dumps, option=orjson.OPT_SERIALIZE_NUMPY)

    async def at_once() -> None:
        write(np.ascontiguousarray(values))

    ask = partial(predict, engine, HALF, b'{"instances": [1]}')
    on_loop = await hold_of(1, at_once)
    # A fault of a page or a collection may fall into one of them, not into each.
    helds = [await hold_of(1, ask) for _ in range(3)]
    held = min(helds, key=lambda hold: hold.computing)

    report("an answer of 20 MB", held, on_loop)
    assert held.computing < on_loop.computing / 10


def report(what: str, held: Hold, on_loop: Hold) -> None:
    for name, hold in (("elsewhere", held), ("on the loop", on_loop)):
        times = f"{hold.longest * 1e3:.1f} ms, {hold.computing * 1e3:.1f} of computing"
        print(f"{what}, {name}: held for {times}")  # noqa: T201
