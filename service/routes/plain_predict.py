"""Predictions answered directly: short bodies of rows, for a model in memory."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

from inference import Engine, ModelNotFound, ModelSpec, Overloaded
from service.codecs.tfserving.plain import PlainRows, encode_plain
from service.codecs.tfserving.request import ROWS
from service.codecs.tfserving.urls import not_found
from service.prediction import encode_answer
from service.server.overload import RECORD_REFUSAL
from service.telemetry.timing import TIMING_HEADER, VERSION_HEADER, server_timing
from service.web.context import SERVING
from service.web.direct import DirectAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from flask import Flask

    from inference import Array, Instance
    from service.bridge.bridge import Scope
    from service.web.context import Serving

VERSION, TIMING = VERSION_HEADER.lower().encode(), TIMING_HEADER.lower().encode()
NO_CODEC = object()


class PlainPredict:
    """The `DirectView` of one model's path.

    All that isn't plain goes through Flask: a model that must be loaded first, whose
    predictions are jobs or cached, or whose signature has more than one input; a body
    with options; and each that is wrong, for the words that say why.
    """

    def __init__(self, serving: Serving, spec: ModelSpec) -> None:
        self.fields = {"model": spec.name}
        self._serving = serving
        self._spec = spec

    @classmethod
    def prepare(
        cls,
        app: Flask,
        *,
        name: str,
        version: int | None = None,
        label: str | None = None,
    ) -> Self | None:
        """Return the view of a path; `None` if the engine predicts in its own way."""
        serving: Serving = app.extensions[SERVING]
        if type(serving.engine).predict is not Engine.predict:
            return None

        return cls(serving, ModelSpec(name=name, version=version, label=label))

    async def __call__(self, scope: Scope, body: bytes) -> DirectAnswer | None:
        instance = self._admit(scope)
        codec = None if instance is None else _codec(instance)
        if instance is None or codec is None:
            return None

        began = time.perf_counter()
        inputs = codec.decode(body)
        if inputs is None:
            return None

        if self._serving.decoders is not None:
            self._serving.decoders.traffic.record(self._spec.name)

        decode = time.perf_counter() - began
        arrived = asyncio.get_running_loop().time()
        outputs, times = await instance.run(codec.signature, inputs, arrived)
        began = time.perf_counter()
        text = await self._encode(outputs)
        timing = server_timing(times, decode, time.perf_counter() - began)
        headers = (VERSION, b"%d" % instance.version), (TIMING, timing.encode())
        return DirectAnswer(text, headers=headers)

    async def _encode(self, outputs: Mapping[str, Array]) -> bytes:
        limit = self._serving.max_answer_bytes
        text = encode_plain(outputs)
        if text is not None and len(text) <= limit:
            return text

        answer = await encode_answer(outputs, ROWS, limit)
        return answer if isinstance(answer, bytes) else b"".join(answer)

    def _admit(self, scope: Scope) -> Instance | None:
        engine = self._serving.engine
        try:
            return engine.admit_to_resident(self._spec)
        except ModelNotFound as exc:
            raise not_found(exc, self._spec) from None
        except Overloaded:
            if RECORD_REFUSAL in scope:
                scope[RECORD_REFUSAL](scope, partial(engine.admit, self._spec))

            raise


def _codec(instance: Instance) -> PlainRows | None:
    """Return the codec of an instance's default signature, made once."""
    if instance.codec is None:
        signature = instance.default_signature
        found = None if signature is None else PlainRows.of(signature)
        instance.codec = found or NO_CODEC

    return instance.codec if isinstance(instance.codec, PlainRows) else None
