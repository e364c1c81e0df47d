"""Starts on a loop that is stepped by hand; known refusals over real sockets."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from inference import ModelNotFound, ModelSpec, Overloaded
from service.bridge.bridge import Bridge
from service.server.overload import (
    MAX_QUEUE,
    MAX_TARGET,
    MAX_TARGETS,
    KnownRefusals,
    StartLimiter,
)
from service.server.protocol import JsonErrorProtocol
from tests.service.server.test_protocol import BODY, post, read_answer, serving
from tests.support.clients import make_app
from tests.support.fakes import FakeEngine, FakeModel

if TYPE_CHECKING:
    from collections.abc import Callable


async def test_a_turn_starts_a_few_in_order() -> None:
    loop = asyncio.get_running_loop()
    start_limiter = StartLimiter(per_turn=2)
    begun: list[int] = []

    for number in range(5):
        start_limiter.start(partial(begun.append, number), loop)

    seen = [list(begun)]

    for _ in range(3):
        await asyncio.sleep(0)
        seen.append(list(begun))

    assert seen[0] == [0, 1]
    assert seen[1] == [0, 1, 2, 3]
    assert seen[2] == seen[3] == [0, 1, 2, 3, 4]

    await asyncio.sleep(0)
    start_limiter.start(partial(begun.append, 5), loop)
    assert begun[-1] == 5


async def test_later_requests_do_not_overtake_the_queue() -> None:
    loop = asyncio.get_running_loop()
    start_limiter = StartLimiter(per_turn=1)
    begun: list[int] = []

    for number in range(3):
        start_limiter.start(partial(begun.append, number), loop)

    await asyncio.sleep(0)
    start_limiter.start(partial(begun.append, 3), loop)

    for _ in range(4):
        await asyncio.sleep(0)

    assert begun == [0, 1, 2, 3]


async def test_the_queue_is_full_at_its_limit() -> None:
    loop = asyncio.get_running_loop()
    start_limiter = StartLimiter(per_turn=1, min_queue=2)
    fullness = []

    for _ in range(4):
        fullness.append(start_limiter.full)
        start_limiter.start(lambda: None, loop)

    assert fullness == [False, False, False, True]


def test_the_queue_limit_follows_the_measured_rate() -> None:
    start_limiter = StartLimiter(min_queue=10)

    for seconds, max_queue in ((0.001, 100), (1.0, 10), (1e-9, MAX_QUEUE)):
        for _ in range(500):
            start_limiter._measure(seconds)

        assert abs(start_limiter.max_queue - max_queue) <= 1


SOURCE = ("half", 1, "v1")
TARGET = b"POST /v1/models/half:predict"


def busy() -> None:
    raise Overloaded("The model is busy.", retry_after=1.5)


def gone() -> None:
    raise ModelNotFound("There is no such model.")


def idle() -> None:
    pass


@pytest.mark.parametrize(
    ("noted", "check", "refused"),
    [
        pytest.param(TARGET, busy, True, id="still busy"),
        pytest.param(TARGET, idle, False, id="not busy any more"),
        pytest.param(TARGET, gone, False, id="gone"),
        pytest.param(b"GET /v1/models/half:predict", busy, False, id="another method"),
        pytest.param(TARGET + b"?x=1", busy, False, id="another target"),
    ],
)
def test_refusal(noted: bytes, check: Callable[[], None], refused: bool) -> None:
    known = KnownRefusals()
    known.record(noted, check, SOURCE)

    for _ in range(2):
        assert (known.refusal(TARGET) is not None) is refused


def test_the_model_is_checked_each_time() -> None:
    model, known = FakeModel(full=True), KnownRefusals()
    engine = FakeEngine(model)
    known.record(TARGET, lambda: engine.admit(ModelSpec(name="half")), SOURCE)

    assert known.refusal(TARGET) is not None
    model.full = False
    assert known.refusal(TARGET) is None
    model.full = True
    assert known.refusal(TARGET) is not None


def test_recorded_targets_are_bounded() -> None:
    known = KnownRefusals()
    known.record(b"x" * (MAX_TARGET + 1), busy, SOURCE)
    assert known.refusal(b"x" * (MAX_TARGET + 1)) is None

    for number in range(MAX_TARGETS + 1):
        known.record(b"%d" % number, busy, SOURCE)

    assert known.refusal(b"0") is None
    assert known.refusal(b"%d" % MAX_TARGETS) is not None


def test_a_repeated_refusal_needs_no_application() -> None:
    model = FakeModel(name="m", full=True)
    application = Bridge(make_app(FakeEngine(model)))
    asked: list[str] = []

    class Protocol(JsonErrorProtocol):
        known_refusals = KnownRefusals()

    async def counting(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])
        await application(scope, receive, send)

    with serving(counting, Protocol) as client:
        answers = []
        for _ in range(3):  # the connection stays good
            client.sendall(post(b"content-type: application/json") + BODY)
            head, body = read_answer(client)
            assert head.startswith(b"HTTP/1.1 429 ")
            assert b"retry-after: 2" in head.lower().splitlines()
            assert b"content-type: application/json" in head.lower().splitlines()
            answers.append(json.loads(body))

        model.full = False
        client.sendall(post(b"content-type: application/json") + BODY)
        assert read_answer(client)[0].startswith(b"HTTP/1.1 400 ")

    assert answers == [{"error": "model m/1 is busy"}] * 3
    assert len(asked) == 2


def test_other_models_still_answer() -> None:
    engine = FakeEngine(FakeModel(name="m", full=True), FakeModel(name="half"))

    class Protocol(JsonErrorProtocol):
        known_refusals = KnownRefusals()

    with serving(Bridge(make_app(engine)), Protocol) as client:
        for _ in range(2):
            client.sendall(post(b"content-type: application/json") + BODY)
            assert read_answer(client)[0].startswith(b"HTTP/1.1 429 ")

            client.sendall(
                b"POST /v1/models/half:predict HTTP/1.1\r\nhost: x\r\n"
                b"content-length: 20\r\n\r\n" + b'{"instances": [1.0]}'
            )
            assert read_answer(client)[1] == b'{"predictions":[2.5]}'
