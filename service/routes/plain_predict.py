"""Predictions answered directly: short bodies of rows, for a model in memory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from inference import ModelNotFound
from service.codecs.tfserving.plain import PlainRows, encode_plain
from service.codecs.tfserving.request import ROWS
from service.codecs.tfserving.urls import not_found
from service.prediction import encode_answer
from service.routes.plain import PlainView

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference import Array, Instance
    from service.bridge.bridge import Scope
    from service.web.direct import DirectAnswer

NO_CODEC = object()


class PlainPredict(PlainView):
    """The `DirectView` of TensorFlow Serving's predict call.

    For signatures with one input, and bodies of nothing but rows of numbers.
    """

    async def __call__(self, scope: Scope, body: bytes) -> DirectAnswer | None:
        instance = self.admit(scope)
        codec = None if instance is None else _codec(instance)
        if instance is None or codec is None:
            return None

        began = time.perf_counter()
        inputs = codec.decode(body)
        if inputs is None:
            return None

        return await self.run(
            instance, codec.signature, inputs, self._encode, began=began
        )

    def admit(self, scope: Scope) -> Instance | None:
        try:
            return super().admit(scope)
        except ModelNotFound as exc:
            raise not_found(exc, self.spec) from None

    async def _encode(self, outputs: Mapping[str, Array]) -> bytes:
        limit = self.serving.max_answer_bytes
        text = encode_plain(outputs)
        if text is not None and len(text) <= limit:
            return text

        answer = await encode_answer(outputs, ROWS, limit)
        return answer if isinstance(answer, bytes) else b"".join(answer)


def _codec(instance: Instance) -> PlainRows | None:
    """Return the codec of an instance's default signature, made once."""
    if instance.codec is None:
        signature = instance.default_signature
        found = None if signature is None else PlainRows.of(signature)
        instance.codec = found or NO_CODEC

    return instance.codec if isinstance(instance.codec, PlainRows) else None
