"""Inference by the Open Inference Protocol: decode a body, ask the engine, encode."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import anyio
import anyio.lowlevel

from inference import ModelLoading, PredictRequest, UnknownSignature
from service.codecs.json.arrays import PIECE_COST
from service.codecs.tfserving.response import bounded, check_size
from service.codecs.v2.binary import join_aligned
from service.codecs.v2.checks import check_inputs, check_outputs
from service.codecs.v2.request import decode, decode_raw, read_head, read_inputs
from service.codecs.v2.response import answer_of, encode_pieces, encoding_of
from service.prediction import ON_LOOP_BYTES, answer, check_call, decode_elsewhere

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference import Engine, ModelSpec, ModelStatus, PredictResult, Signature
    from service.caching.cache import CacheUse
    from service.codecs.v2.request import InferCall
    from service.codecs.v2.response import InferAnswer
    from service.decoding.pool import DecoderPool


class InferBody(NamedTuple):
    """A body in pieces, whose first `head` bytes are JSON; all of it without.

    With a `head` of 0 it is one tensor's raw data.
    """

    pieces: Sequence[bytes]
    head: int | None = None


async def infer(
    engine: Engine,
    model: ModelSpec,
    body: InferBody,
    decoders: DecoderPool | None = None,
    *,
    wait: float | None = None,
    cached: CacheUse | None = None,
    max_bytes: float = math.inf,
) -> InferAnswer:
    """Answer an inference request.

    The client waits `wait` seconds, if given; the request may tell a shorter time.
    `cached` notes what the response cache did. The answer has at most `max_bytes`.
    Raise `InferenceError`.
    """
    now = anyio.current_time()
    ends = math.inf if wait is None else now + wait
    call = await _decode(engine, model, body, decoders, ends)
    if call.timeout is not None:
        ends = min(ends, now + call.timeout)

    left = None if ends == math.inf else ends - anyio.current_time()
    request = _request(engine, model, call, left)
    # A view would keep the arrays of a whole batch.
    kept = cached is not None and engine.cache_policy(model) is not None
    body_of = await answer(
        engine,
        request,
        partial(_encode, call, max_bytes, kept),
        partial(encoding_of, call),
        cached,
    )
    return answer_of(body_of, call.id)


async def check(
    engine: Engine,
    model: ModelSpec,
    body: InferBody,
    decoders: DecoderPool | None = None,
) -> str | None:
    """Raise what `infer` would raise for this body, without running the model.

    Return the name of its signature; `None` while the model isn't loaded.
    """
    call = await _decode(engine, model, body, decoders, math.inf)
    return check_call(engine, _request(engine, model, call, None))


def _request(
    engine: Engine, model: ModelSpec, call: InferCall, timeout: float | None
) -> PredictRequest:
    signature = _signature(engine.status(model), call.signature)
    if signature is not None:
        check_inputs(signature, call.inputs, model.name)
        check_outputs(signature, call.output_names, model.name)

    return PredictRequest(
        model=model,
        inputs=call.inputs,
        signature=call.signature,
        outputs=call.output_names,
        timeout=timeout,
    )


def _signature(status: ModelStatus, name: str | None) -> Signature | None:
    return status.signatures.get(name or status.default_signature or "")


async def _decode(
    engine: Engine,
    model: ModelSpec,
    body: InferBody,
    decoders: DecoderPool | None,
    ends: float,
) -> InferCall:
    if decoders is not None:
        decoders.traffic.record(model.name)

    if body.head == 0:
        joined = join_aligned(body.pieces, 0)
        return decode_raw(joined, _only_signature(engine.status(model)))

    size = sum(map(len, body.pieces))
    head = size if body.head is None else body.head
    if decoders is None or head <= ON_LOOP_BYTES:
        joined = join_aligned(body.pieces, head)
        found = read_head(bytes(joined[:head]))
        if decoders is None or found.string_bytes <= ON_LOOP_BYTES:
            return read_inputs(found, joined[head:])

    with engine.reserve(model):
        return await decode_elsewhere(
            partial(decode, head=body.head),
            engine.status(model),
            body.pieces,
            decoders,
            ends,
        )


def _only_signature(status: ModelStatus) -> Signature:
    """Return the default signature. Raise `ModelLoading`, `UnknownSignature`."""
    if not status.signatures:
        raise ModelLoading(f"{status.id.title} is {status.state}; ask again later")

    found = _signature(status, None)
    if found is None:
        raise UnknownSignature(
            f"the default signature of {status.id.title} can't be served: name another "
            "in the parameters of a request with JSON"
        )

    return found


async def _encode(
    call: InferCall,
    max_bytes: float,
    kept: bool,
    _: PredictRequest,
    result: PredictResult,
) -> list[bytes]:
    pieces = await encode_result(call, max_bytes, result)
    return list(map(bytes, pieces)) if kept else pieces


def encode_at_once(
    call: InferCall, max_bytes: float, result: PredictResult
) -> list[bytes] | None:
    """Encode the answer to a call as `encode_result` does, if it is surely short."""
    arrays = result.outputs.values()
    if any(each.dtype == object or each.size > PIECE_COST for each in arrays):
        return None

    check_size(result.outputs, max_bytes)
    return list(bounded(encode_pieces(call, result), max_bytes))


async def encode_result(
    call: InferCall, max_bytes: float, result: PredictResult
) -> list[bytes]:
    """Encode the answer to a call, for `answer_of`; a long one in several turns.

    Raise `InvalidRequest` where it can't be, or would be over `max_bytes`.
    """
    check_size(result.outputs, max_bytes)
    pieces = []
    spent = 0
    for piece in bounded(encode_pieces(call, result), max_bytes):
        pieces.append(piece)
        spent += len(piece) or ON_LOOP_BYTES
        if spent > ON_LOOP_BYTES:
            spent = 0
            await anyio.lowlevel.checkpoint()

    return pieces
