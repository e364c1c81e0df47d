"""A predict body in, a predict body out: what all routes of a codec call.

The event loop serves others meanwhile: bodies that take long to decode go to another
process, answers that take long to write are written in pieces.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from inference import DeadlineExceeded, PredictRequest, bind, put_together
from service.codecs.json.numbers import Irregular
from service.codecs.tfserving.request import decode, decode_regular
from service.codecs.tfserving.response import encode, encode_pieces, is_small

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inference import Engine, ModelSpec, ModelStatus, Output
    from service.codecs.tfserving.request import Form, PredictCall
    from service.decoding.pool import DecoderPool

ON_LOOP_BYTES = 1 << 16
"""A body of up to this size is decoded on the loop: 2 to 4 ms in the worst form."""

REGULAR_BYTES = 1 << 17
"""And so is one of up to this size if it is regular numbers: about 1 ms."""

SINGLE_MODEL_BYTES = 1 << 20
"""And of up to this size for a model that has the server to itself: about 5 ms.

Eight images at a time (700 KB, 4 to 5 ms each) come through a fifth faster so; but they
made the p99 of a light model on the same CPU 86 ms, and not 17 to 21.
"""


async def predict(
    engine: Engine,
    model: ModelSpec,
    body: bytes | Sequence[bytes],
    decoders: DecoderPool | None = None,
    *,
    wait: float | None = None,
) -> bytes | list[bytes]:
    """Answer a body in TensorFlow Serving's JSON, whole or in the pieces it came in.

    A long answer is in pieces too. `wait` is how many seconds the client gives it.
    Raises `InferenceError`. A body that can't be read is refused before the model is
    looked up, unless it is decoded elsewhere.
    """
    pieces = [body] if isinstance(body, bytes) else body
    ends = math.inf if wait is None else anyio.current_time() + wait
    call = await _decode(engine, model, pieces, decoders, ends)
    request = PredictRequest(
        model=model,
        inputs=call.inputs,
        signature=call.signature,
        timeout=None if wait is None else ends - anyio.current_time(),
    )
    result = await engine.predict(request)
    return await _encode(put_together(result.signature, result.outputs), call.form)


async def _decode(
    engine: Engine,
    model: ModelSpec,
    pieces: Sequence[bytes],
    decoders: DecoderPool | None,
    ends: float,
) -> PredictCall:
    size = sum(map(len, pieces))
    if decoders is not None:
        decoders.traffic.record(model.name)

    if decoders is None or size <= ON_LOOP_BYTES:
        return decode(b"".join(pieces))

    # While this body came, others may have filled the model's queue: what is to be
    # refused isn't decoded, and what is decoded isn't refused.
    with engine.reserve(model):
        return await _decode_long(engine.status(model), pieces, decoders, ends)


async def _decode_long(
    status: ModelStatus, pieces: Sequence[bytes], decoders: DecoderPool, ends: float
) -> PredictCall:
    size = sum(map(len, pieces))
    if size <= (
        SINGLE_MODEL_BYTES if decoders.traffic.single_model() else REGULAR_BYTES
    ):
        # One in a turn of the loop: in between, others are heard, and refused.
        async with decoders.loop_lock:
            pieces = [b"".join(pieces)]
            call = _decode_regular(pieces[0], status)

        if call is not None:
            return call

    with anyio.CancelScope(deadline=ends):
        return await decoders.decode(
            pieces, status.signatures, status.default_signature
        )

    raise DeadlineExceeded("The request's time is over: its body was still being read.")


def _decode_regular(body: bytes, status: ModelStatus) -> PredictCall | None:
    call = decode_regular(body, lists=False)
    if call is None:
        return None

    name = call.signature or status.default_signature or ""
    signature = status.signatures.get(name)
    if signature is None:
        return None

    try:
        return call._replace(inputs=bind(signature, call.inputs))
    except Irregular:
        return None


async def _encode(outputs: Mapping[str, Output], form: Form) -> bytes | list[bytes]:
    if is_small(outputs):
        return encode(outputs, form)

    pieces = []
    for piece in encode_pieces(outputs, form):
        pieces.append(piece)
        await anyio.lowlevel.checkpoint()

    return pieces
