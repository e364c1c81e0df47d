"""Inference answered directly: short requests in JSON, for a model in memory."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

from inference import (
    Engine,
    InferenceError,
    ModelId,
    ModelSpec,
    Overloaded,
    PredictResult,
)
from service.codecs.v2.checks import check_inputs
from service.codecs.v2.request import HEAD_LENGTH, decode
from service.codecs.v2.response import answer_of
from service.infer import encode_result
from service.server.overload import RECORD_REFUSAL
from service.telemetry.timing import TIMING_HEADER, VERSION_HEADER, server_timing
from service.web.context import SERVING
from service.web.direct import DirectAnswer

if TYPE_CHECKING:
    from typing import Self

    from flask import Flask

    from inference import Instance, Signature
    from service.bridge.bridge import Scope
    from service.codecs.v2.request import InferCall
    from service.web.context import Serving

VERSION, TIMING = VERSION_HEADER.lower().encode(), TIMING_HEADER.lower().encode()
SPECIAL = {HEAD_LENGTH.lower().encode(), b"accept-encoding"}
"""Headers that only Flask's way heeds."""


class PlainInfer:
    """The `DirectView` of one model's path.

    All that isn't plain goes through Flask: binary data, options, a model that isn't in
    memory or whose answers are jobs or kept, and each request that is wrong.
    """

    def __init__(self, serving: Serving, spec: ModelSpec) -> None:
        self.fields = {"model": spec.name}
        self._serving = serving
        self._spec = spec

    @classmethod
    def prepare(
        cls, app: Flask, *, name: str, version: int | None = None
    ) -> Self | None:
        """Return the view of a path; `None` if the engine predicts in its own way."""
        serving: Serving = app.extensions[SERVING]
        if type(serving.engine).predict is not Engine.predict:
            return None

        return cls(serving, ModelSpec(name=name, version=version))

    async def __call__(self, scope: Scope, body: bytes) -> DirectAnswer | None:
        if any(name in SPECIAL for name, _ in scope["headers"]):
            return None

        instance = self._admit(scope)
        signature = None if instance is None else instance.default_signature
        if instance is None or signature is None:
            return None

        began = time.perf_counter()
        call = self._decode(signature, body)
        if call is None:
            return None

        if self._serving.decoders is not None:
            self._serving.decoders.traffic.record(self._spec.name)

        decoded = time.perf_counter() - began
        arrived = asyncio.get_running_loop().time()
        outputs, times = await instance.run(signature, call.inputs, arrived)
        began = time.perf_counter()
        result = PredictResult(
            model=ModelId(self._spec.name, instance.version),
            signature=signature,
            outputs=outputs,
        )
        limit = self._serving.max_answer_bytes
        answer = answer_of(await encode_result(call, limit, result), call.id)
        timing = server_timing(times, decoded, time.perf_counter() - began)
        headers = (VERSION, b"%d" % instance.version), (TIMING, timing.encode())
        return DirectAnswer(b"".join(answer.pieces), headers=headers)

    def _decode(self, signature: Signature, body: bytes) -> InferCall | None:
        """Return a plain call with bound inputs, in the signature's order."""
        try:
            call = decode(body)
            check_inputs(signature, call.inputs, self._spec.name)
        except InferenceError:
            return None

        if not _is_plain(call, signature):
            return None

        inputs = {k: call.inputs[k] for k in signature.inputs if k in call.inputs}
        return call._replace(inputs=inputs)

    def _admit(self, scope: Scope) -> Instance | None:
        engine = self._serving.engine
        try:
            return engine.admit_to_resident(self._spec)
        except Overloaded:
            if RECORD_REFUSAL in scope:
                scope[RECORD_REFUSAL](scope, partial(engine.admit, self._spec))

            raise


def _is_plain(call: InferCall, signature: Signature) -> bool:
    """Return whether a call asks for the usual outputs in JSON, and no more."""
    special = call.signature is not None or call.timeout is not None or call.binary
    if special or signature.seed is not None or signature.takes_parts:
        return False

    # Images come as strings, and become an input of pixels on the general way.
    if any(
        array.dtype == object and signature.inputs[name].dtype != "string"
        for name, array in call.inputs.items()
    ):
        return False

    if call.outputs is None:
        return True

    as_json = not any(each.binary or each.classes for each in call.outputs)
    return as_json and {each.name for each in call.outputs} == set(signature.usual)
