from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import orjson
import pytest
from structlog.testing import capture_logs

from inference import (
    InferenceError,
    InputMismatch,
    InvalidRequest,
    ModelLoading,
    ModelNotFound,
    ModelSpec,
    ModelState,
    Overloaded,
    UnknownSignature,
)
from service import prediction
from service.decoding.pool import DecoderPool, TrafficMonitor
from service.prediction import (
    ON_LOOP_BYTES,
    REGULAR_BYTES,
    SINGLE_MODEL_BYTES,
    check,
    predict,
)
from tests.support.fakes import FakeEngine, FakeModel, signature, tensor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from inference import Signature
    from service.decoding.messages import DecodedCall

C = TypeVar("C", bound="DecodedCall")

HALF = ModelSpec(name="half")


async def test_the_answer_has_the_form_of_the_request() -> None:
    engine = FakeEngine(FakeModel())

    rows = await predict(engine, HALF, b'{"instances": [1.0, 2.0]}')
    columns = await predict(engine, HALF, b'{"inputs": {"x": 1.0}}')

    assert (rows, columns) == (b'{"predictions":[2.5,3.0]}', b'{"outputs":2.5}')


async def test_the_request_that_the_engine_gets() -> None:
    engine = FakeEngine(FakeModel(version=3))
    spec = ModelSpec(name="half", version=3)

    await predict(
        engine, spec, b'{"signature_name": "serving_default", "inputs": {"x": [1]}}'
    )

    (request,) = engine.requests
    assert request.model == spec
    assert request.signature == "serving_default"
    assert request.inputs["x"].lists() == [1]
    assert request.outputs is None


async def test_a_check_refuses_unknown_outputs() -> None:
    engine = FakeEngine(FakeModel())

    assert await check(engine, HALF, [b'{"inputs": 1, "outputs": ["y"]}'])
    with pytest.raises(UnknownSignature, match="no output 'z'"):
        await check(engine, HALF, [b'{"inputs": 1, "outputs": ["z"]}'])


async def test_a_check_refuses_classes_that_cant_be_told() -> None:
    two = signature(tensor("x"), outputs=("a", "b"))

    with pytest.raises(InvalidRequest, match="this answer has 2"):
        await check(
            FakeEngine(FakeModel(signatures=(two,))),
            HALF,
            [b'{"signature_name": "main", "inputs": 1, "top_k": 1}'],
        )


async def test_ignored_arguments_are_logged() -> None:
    with capture_logs() as lines:
        body = b'{"instances": [1.0], "batch_size": 32, "verbose": 0}'
        await predict(FakeEngine(FakeModel()), HALF, body)

    (line,) = lines
    assert line["event"] == "arguments ignored"
    assert line["log_level"] == "debug"
    assert line["names"] == ("batch_size", "verbose")


async def test_a_bad_body_is_refused_before_the_model_is_looked_up() -> None:
    with pytest.raises(InvalidRequest):
        await predict(FakeEngine(), ModelSpec(name="unknown"), b"{")

    with pytest.raises(ModelNotFound):
        await predict(FakeEngine(), ModelSpec(name="unknown"), b'{"inputs": 1}')


async def test_long_answers_come_in_pieces() -> None:
    values = np.zeros(100_000, np.float32)
    body = orjson.dumps({"instances": values.tolist()})

    answer = await predict(FakeEngine(FakeModel()), HALF, [body[:999], body[999:]])

    assert isinstance(answer, list)
    assert orjson.loads(b"".join(answer)) == {"predictions": [2.0] * 100_000}


class Noting(DecoderPool):
    """A pool that records the sizes of its bodies, and calls `before`."""

    def __init__(self) -> None:
        super().__init__(1)
        self.sizes: list[int] = []
        self.before: list[Callable[[], object]] = []

    async def decode(
        self,
        pieces: Sequence[bytes],
        signatures: Mapping[str, Signature],
        default_signature: str | None,
        decode: Callable[[bytes], C],
    ) -> C:
        self.sizes.append(sum(map(len, pieces)))
        for call in self.before:
            call()

        return await super().decode(pieces, signatures, default_signature, decode)


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[Noting]:
    async with Noting() as decoders:
        yield decoders


@pytest.fixture
def decoders(running: Noting) -> Noting:
    running.sizes.clear()
    running.before.clear()
    running.traffic = TrafficMonitor()
    return running


def document(value: Any, size: int) -> bytes:
    """Return rows of `value`, padded with spaces to the size."""
    return json.dumps({"instances": [value] * 9}).encode().ljust(size)


@pytest.mark.parametrize(
    ("value", "size", "elsewhere"),
    [
        pytest.param([1.5], 99, False, id="small"),
        pytest.param([1.5], ON_LOOP_BYTES + 1, False, id="regular"),
        pytest.param([1.5], REGULAR_BYTES + 1, True, id="regular, large"),
        pytest.param({"x": [1.5]}, ON_LOOP_BYTES + 1, False, id="objects"),
        pytest.param({"x": [2**70]}, ON_LOOP_BYTES, False, id="odd, small"),
        pytest.param({"x": [2**70]}, ON_LOOP_BYTES + 1, True, id="odd objects"),
        pytest.param([1, 2**70], ON_LOOP_BYTES + 1, True, id="odd numbers"),
    ],
)
async def test_long_irregular_bodies_are_decoded_elsewhere(
    decoders: Noting, value: Any, size: int, elsewhere: bool
) -> None:
    body = document(value, size)
    engine = FakeEngine(FakeModel())

    answer = await predict(engine, HALF, body, decoders)

    assert bool(decoders.sizes) is elsewhere
    assert answer == await predict(engine, HALF, body)


@pytest.mark.parametrize(
    ("size", "elsewhere"), [(SINGLE_MODEL_BYTES, False), (SINGLE_MODEL_BYTES + 1, True)]
)
async def test_longer_bodies_are_decoded_on_the_loop_for_a_single_model(
    decoders: Noting, size: int, elsewhere: bool
) -> None:
    decoders.traffic = TrafficMonitor(iter([0.0, 9.0]).__next__)
    engine = FakeEngine(FakeModel())

    answer = await predict(engine, HALF, document([1.5], size), decoders)

    assert bool(decoders.sizes) is elsewhere
    assert answer == b'{"predictions":[%b]}' % b",".join([b"[2.75]"] * 9)


@pytest.mark.parametrize("size", [99, ON_LOOP_BYTES + 1, REGULAR_BYTES + 1])
@pytest.mark.parametrize(
    ("model", "body", "kind"),
    [
        pytest.param(FakeModel(), b'{"instances": [1', InvalidRequest, id="body"),
        pytest.param(FakeModel(), b'{"instances": ["a"]}', InputMismatch, id="string"),
        pytest.param(
            FakeModel(signatures=(signature(tensor("x", "uint8")),)),
            b'{"instances": [256]}',
            InputMismatch,
            id="range",
        ),
        pytest.param(
            FakeModel(signatures=(signature(tensor("x", shape=(None, 3))),)),
            b'{"instances": [[1, 2]]}',
            InputMismatch,
            id="shape",
        ),
        pytest.param(
            FakeModel(),
            b'{"signature_name": "other", "instances": [1]}',
            UnknownSignature,
            id="signature",
        ),
        pytest.param(
            FakeModel(state=ModelState.LOADING),
            b'{"instances": [1]}',
            ModelLoading,
            id="loading",
        ),
        pytest.param(
            FakeModel(name="other"), b'{"instances": [1]}', ModelNotFound, id="model"
        ),
    ],
)
async def test_errors_are_the_same_everywhere(
    decoders: Noting, model: FakeModel, body: bytes, kind: type[Exception], size: int
) -> None:
    engine, body = FakeEngine(model), body.ljust(size)

    with pytest.raises(InferenceError) as wanted:
        await predict(engine, HALF, body)

    with pytest.raises(InferenceError) as caught:
        await predict(engine, HALF, body, decoders)

    assert type(caught.value) is type(wanted.value) is kind
    assert str(caught.value) == str(wanted.value)


async def test_a_place_is_kept_while_a_body_is_decoded(decoders: Noting) -> None:
    engine = FakeEngine(FakeModel())
    expected: list[int] = []
    decoders.before.append(lambda: expected.append(engine.reserved))

    await predict(engine, HALF, document(1.0, REGULAR_BYTES + 1), decoders)

    assert (expected, engine.reserved) == ([1], 0)


@pytest.mark.parametrize("size", [ON_LOOP_BYTES + 1, REGULAR_BYTES + 1])
async def test_bodies_refused_by_a_busy_model_are_not_decoded(
    decoders: Noting, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(prediction, "decode_regular", None)
    engine = FakeEngine(FakeModel(full=True))

    with pytest.raises(Overloaded):
        await predict(engine, HALF, document(1.0, size), decoders)

    assert decoders.sizes == []


async def test_the_slow_path_is_not_taken_on_the_loop(
    decoders: Noting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """These numbers turn out to need the slow path when they are bound."""
    monkeypatch.setattr("service.codecs.tfserving.request.decode_slowly", None)
    model = FakeModel(signatures=(signature(tensor("x", "int8")),))
    body = document(300, ON_LOOP_BYTES + 1)

    with pytest.raises(InputMismatch, match="not within -128 to 127"):
        await predict(FakeEngine(model), HALF, body, decoders)

    assert decoders.sizes == [len(body)]
    assert prediction.ON_LOOP_BYTES < len(body) < prediction.REGULAR_BYTES


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"instances": [%b1.25]}' % (b"1.25," * 99), id="rows"),
        pytest.param(b'{"inputs": [%b1.25]}' % (b"1.25," * 99), id="columns"),
        pytest.param(b'{"inputs": [%b1.25]}' % (b"1.25," * 29_999), id="in pieces"),
    ],
)
async def test_an_answer_is_as_long_as_the_limit_at_most(body: bytes) -> None:
    engine = FakeEngine(FakeModel())
    whole = await predict(engine, HALF, body)
    size = len(whole if isinstance(whole, bytes) else b"".join(whole))

    assert await predict(engine, HALF, body, max_bytes=size) == whole
    with pytest.raises(InvalidRequest, match=f"limit of {size - 1} bytes: it has more"):
        await predict(engine, HALF, body, max_bytes=size - 1)


async def test_an_answer_that_is_surely_too_long_is_not_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(prediction, "encode_pieces")
    body = b'{"instances": [%b1.25]}' % (b"1.25," * 29_999)

    with pytest.raises(InvalidRequest, match="it has at least 60000. Send fewer rows"):
        await predict(FakeEngine(FakeModel()), HALF, body, max_bytes=59_999)
