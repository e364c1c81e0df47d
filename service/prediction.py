"""Prediction: decode a body, ask the engine, encode the answer.

The event loop isn't held for long: another process decodes large bodies, and large
answers are encoded in pieces.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread
import structlog

from inference import (
    DeadlineExceeded,
    PredictRequest,
    UnknownSignature,
    bind,
    cast_inputs,
    check_request,
    put_together,
    select_outputs,
)
from service.caching.cache import Answer
from service.caching.store import joined
from service.codecs.json.numbers import Irregular
from service.codecs.npy import decode_arrays, encode_arrays
from service.codecs.tfserving.examples import (
    bind_examples,
    decode_examples,
    encode_results,
    labelled_classes,
    output_names,
)
from service.codecs.tfserving.request import ROWS, decode, decode_regular
from service.codecs.tfserving.response import (
    bounded,
    check_size,
    encode,
    encode_pieces,
    is_small,
    too_long,
)
from service.telemetry.timing import Trace, trace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from anyio import CapacityLimiter

    from inference import (
        Array,
        Engine,
        ModelId,
        ModelSpec,
        ModelStatus,
        Output,
        PredictResult,
        Signature,
    )
    from service.caching.cache import CacheUse
    from service.caching.store import Body
    from service.codecs.tfserving.examples import Method
    from service.codecs.tfserving.request import Form, PredictCall
    from service.decoding.messages import DecodedCall
    from service.decoding.pool import DecoderPool

    Encode = Callable[[PredictRequest, PredictResult], Awaitable[Body]]

C = TypeVar("C", bound="DecodedCall")

log = structlog.get_logger("tandem.requests")

ON_LOOP_BYTES = 1 << 16
"""Up to this size any body is decoded on the loop: 2 to 4 ms at worst."""

REGULAR_BYTES = 1 << 17
"""Up to this size a body of regular numbers is decoded on the loop: about 1 ms."""

SINGLE_MODEL_BYTES = 1 << 20
"""The same where all recent requests are for a single model: about 5 ms.

Eight images at a time (700 KB, 4 to 5 ms each) are a fifth faster so. But with a light
model on the same CPU its p99 was 86 ms, instead of 17 to 21 ms.
"""


class ArrayBody(NamedTuple):
    """A body of the media type `kind`, of at most `most_bytes` once unpacked."""

    kind: str
    content: bytes
    most_bytes: int


async def predict(
    engine: Engine,
    model: ModelSpec,
    body: bytes | Sequence[bytes],
    decoders: DecoderPool | None = None,
    *,
    wait: float | None = None,
    cached: CacheUse | None = None,
    max_bytes: float = math.inf,
    kind: str | None = None,
) -> bytes | list[bytes]:
    """Answer a body in TensorFlow Serving's JSON, given whole or in pieces.

    The answer is JSON, too, or of the media type `kind`. A long one is returned in
    pieces, one of more than `max_bytes` is refused. The
    client waits `wait` seconds, if given. `cached` notes what the response cache did,
    if the model's answers are kept.
    Raise `InferenceError`: for a malformed body before the model is looked up, unless
    it is decoded in another process.
    """
    pieces = [body] if isinstance(body, bytes) else body
    ends = math.inf if wait is None else anyio.current_time() + wait
    call = await _decode(engine, model, pieces, decoders, ends)
    left = None if wait is None else ends - anyio.current_time()
    return await predict_call(
        engine, model, call, wait=left, cached=cached, max_bytes=max_bytes, kind=kind
    )


async def predict_call(
    engine: Engine,
    model: ModelSpec,
    call: PredictCall,
    *,
    wait: float | None = None,
    cached: CacheUse | None = None,
    max_bytes: float = math.inf,
    kind: str | None = None,
) -> bytes | list[bytes]:
    """Answer a decoded body as `predict` does."""
    request = _request(model, call, wait)
    if call.options.ignored:
        log.debug("arguments ignored", model=model.name, names=call.options.ignored)

    return await _answer_in_form(engine, request, call.form, kind, max_bytes, cached)


async def predict_array_body(
    engine: Engine,
    request: PredictRequest,
    body: ArrayBody,
    *,
    limiter: CapacityLimiter,
    cached: CacheUse | None = None,
    max_bytes: float = math.inf,
    kind: str | None = None,
) -> bytes | list[bytes]:
    """Answer a body of arrays as `predict` does one of `instances`.

    It is decoded in a thread of `limiter`. `request` has all but the inputs. Raise
    `InferenceError`, and `BodyTooLarge`.
    """
    decode = partial(decode_arrays, body.kind, body.content, body.most_bytes)
    on_loop = len(body.content) <= ON_LOOP_BYTES
    inputs: Mapping[str, Array] = (
        decode() if on_loop else await anyio.to_thread.run_sync(decode, limiter=limiter)
    )
    signature = _signature(engine.status(request.model), request.signature)
    request = replace(request, inputs=cast_inputs(signature, inputs))
    return await _answer_in_form(engine, request, ROWS, kind, max_bytes, cached)


async def _answer_in_form(
    engine: Engine,
    request: PredictRequest,
    form: Form,
    kind: str | None,
    max_bytes: float,
    cached: CacheUse | None,
) -> Body:
    encode = (
        partial(_encode_result, form, max_bytes)
        if kind is None
        else partial(_encode_arrays, kind, max_bytes)
    )
    return await answer(engine, request, encode, lambda _: f"v1:{kind or form}", cached)


async def predict_examples(
    engine: Engine,
    model: ModelSpec,
    method: Method,
    body: Sequence[bytes],
    *,
    limiter: CapacityLimiter,
    wait: float | None = None,
    cached: CacheUse | None = None,
    max_bytes: float = math.inf,
) -> bytes | list[bytes]:
    """Answer a body of `examples` by `method`. Raise `InferenceError`.

    A long body is decoded in a thread of `limiter`.
    """
    ends = math.inf if wait is None else anyio.current_time() + wait
    decode = partial(_decode_examples, engine.status(model), model, method, body)
    on_loop = sum(map(len, body)) <= ON_LOOP_BYTES
    request, count = (
        decode() if on_loop else await anyio.to_thread.run_sync(decode, limiter=limiter)
    )
    if wait is not None:
        request = replace(request, timeout=ends - anyio.current_time())

    encode = partial(_encode_examples, method, count, max_bytes)
    return await answer(engine, request, encode, lambda _: f"v1:{method}", cached)


def _decode_examples(
    status: ModelStatus, model: ModelSpec, method: Method, body: Sequence[bytes]
) -> tuple[PredictRequest, int]:
    call = decode_examples(b"".join(body), method)
    signature = _signature(status, call.signature)
    request = PredictRequest(
        model=model,
        inputs=bind_examples(signature, call.examples),
        signature=signature.name,
        outputs=output_names(signature, method),
        top_k=labelled_classes(signature, method),
    )
    return request, len(call.examples)


def check_examples(
    engine: Engine, model: ModelSpec, method: Method, body: Sequence[bytes]
) -> str | None:
    """Raise what `predict_examples` would raise, as `check` does."""
    request, _ = _decode_examples(engine.status(model), model, method, body)
    return check_call(engine, request)


async def _encode_examples(
    method: Method,
    count: int,
    max_bytes: float,
    _: PredictRequest,
    result: PredictResult,
) -> Body:
    check_size(result.outputs, max_bytes)
    whole = encode_results(result.outputs, method, count)
    (body,) = bounded([whole], max_bytes)
    return body


async def answer(
    engine: Engine,
    request: PredictRequest,
    encode: Encode,
    encoding: Callable[[ModelId], str],
    cached: CacheUse | None,
) -> Body:
    """Return the encoded answer to a request, from the response cache if it is there.

    `encoding` names the protocol and form in which a version's results are encoded.
    Raise what `engine.predict` and `encode` raise.
    """
    policy = None if cached is None else engine.cache_policy(request.model)
    run = partial(_run, engine, encode)
    if cached is None or policy is None:
        return (await run(request)).body

    if (noted := trace.get()) is not None:
        noted.version = policy.model.version

    cached.answer = await cached.cache.answer(
        policy, request, encoding(policy.model), cached.directives, run
    )
    return cached.answer.body


async def predict_arrays(
    engine: Engine,
    model: ModelSpec,
    signature: str | None,
    inputs: Mapping[str, Array],
    *,
    max_bytes: float = math.inf,
) -> bytes:
    """Answer rows of numbers as `predict` does a body of `instances`.

    `inputs` are arrays by name, or one under `UNNAMED`. Raise `InferenceError`.
    """
    status = engine.status(model)
    found = status.signatures.get(signature or status.default_signature or "")
    request = PredictRequest(
        model=model,
        inputs=inputs if found is None else cast_inputs(found, inputs),
        signature=signature,
    )
    result = await engine.predict(request)
    outputs = put_together(result.signature, result.outputs)
    return joined(await encode_answer(outputs, ROWS, max_bytes))


async def check(
    engine: Engine,
    model: ModelSpec,
    body: Sequence[bytes],
    decoders: DecoderPool | None = None,
) -> str | None:
    """Raise what `predict` would raise for this body, without running the model.

    Return the name of its signature; `None` while the model isn't loaded, when only
    the body's form is checked.
    """
    call = await _decode(engine, model, body, decoders, math.inf)
    return check_call(engine, _request(model, call))


def check_call(engine: Engine, request: PredictRequest) -> str | None:
    """Raise what `engine.predict` would raise for a request's content.

    Return the name of its signature; see `check`.
    """
    status = engine.status(request.model)
    if not status.signatures:
        return request.signature

    signature = _signature(status, request.signature)
    bind(signature, request.inputs, request.exact)
    outputs = select_outputs(signature, request.outputs)
    check_request(signature, outputs, request)
    return signature.name


def _signature(status: ModelStatus, name: str | None) -> Signature:
    """Return a signature, by default the model's own. Raise `UnknownSignature`."""
    name = name or status.default_signature or ""
    if name in status.signatures:
        return status.signatures[name]

    why = status.left_out.get(name)
    raise UnknownSignature(
        f"The signature '{name}' can't be served: {why}."
        if why
        else f'Serving signature name: "{name}" not found in signature def of'
        f" {status.id.title}; it has: {', '.join(sorted(status.signatures))}."
    )


async def _run(engine: Engine, encode: Encode, request: PredictRequest) -> Answer:
    noted = trace.get() or Trace()
    noted.asked()
    result = await engine.predict(request)
    noted.answered(result)
    body = await encode(request, result)
    noted.encoded()
    return Answer(body=body, digest=result.digest)


async def _encode_result(
    form: Form, max_bytes: float, request: PredictRequest, result: PredictResult
) -> Body:
    return await encode_answer(_outputs(request, result), form, max_bytes)


async def _encode_arrays(
    kind: str, max_bytes: float, request: PredictRequest, result: PredictResult
) -> Body:
    outputs = _outputs(request, result)
    nbytes = sum(getattr(output, "nbytes", 0) for output in outputs.values())
    if nbytes > max_bytes:
        raise too_long(max_bytes, str(nbytes))

    return encode_arrays(kind, outputs)


def _outputs(request: PredictRequest, result: PredictResult) -> Mapping[str, Output]:
    # Those of classes and samples are no outputs of the signature any more.
    changed = request.top_k is not None or request.sampling.samples
    return result.outputs if changed else put_together(result.signature, result.outputs)


def _request(
    model: ModelSpec, call: PredictCall, timeout: float | None = None
) -> PredictRequest:
    return PredictRequest(
        model=model,
        inputs=call.inputs,
        exact=call.exact,
        signature=call.signature,
        outputs=call.options.outputs,
        top_k=call.options.top_k,
        sampling=call.options.sampling,
        timeout=timeout,
    )


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

    # While this body arrived, others may have filled the model's queue. With a place
    # reserved, no body is decoded only to be refused.
    with engine.reserve(model):
        return await _decode_long(engine.status(model), pieces, decoders, ends)


async def _decode_long(
    status: ModelStatus, pieces: Sequence[bytes], decoders: DecoderPool, ends: float
) -> PredictCall:
    size = sum(map(len, pieces))
    if size <= (
        SINGLE_MODEL_BYTES if decoders.traffic.single_model() else REGULAR_BYTES
    ):
        # One in a turn of the loop: in between, others arrive and are refused.
        async with decoders.loop_lock:
            pieces = [b"".join(pieces)]
            call = _decode_regular(pieces[0], status)

        if call is not None:
            return call

    return await decode_elsewhere(decode, status, pieces, decoders, ends)


async def decode_elsewhere(
    decode: Callable[[bytes], C],
    status: ModelStatus,
    pieces: Sequence[bytes],
    decoders: DecoderPool,
    ends: float,
) -> C:
    """Decode and bind a body in another process, until the time `ends`."""
    with anyio.CancelScope(deadline=ends):
        return await decoders.decode(
            pieces, status.signatures, status.default_signature, decode
        )

    raise DeadlineExceeded(
        "The request's time is over: its body was still being decoded."
    )


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


async def encode_answer(
    outputs: Mapping[str, Output], form: Form, max_bytes: float
) -> bytes | list[bytes]:
    """Encode an answer of at most `max_bytes`, a long one in pieces.

    Raise `InvalidRequest` for a longer one, where its shape tells before it is begun.
    """
    check_size(outputs, max_bytes)
    if is_small(outputs):
        (answer,) = bounded([encode(outputs, form)], max_bytes)
        return answer

    pieces = []
    for piece in bounded(encode_pieces(outputs, form), max_bytes):
        pieces.append(piece)
        await anyio.lowlevel.checkpoint()

    return pieces
