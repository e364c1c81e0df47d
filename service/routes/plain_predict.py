"""Predictions answered directly: short bodies of rows, for a model in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.codecs.tfserving.plain import PlainRows, encode_plain
from service.codecs.tfserving.request import ROWS
from service.codecs.tfserving.urls import not_found
from service.prediction import encode_answer
from service.routes.plain import PlainView

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from inference import Array, Instance, ModelNotFound
    from service.bridge.bridge import Scope
    from service.routes.plain import Decoded

NO_CODEC = object()


class PlainPredict(PlainView):
    """The `DirectView` of TensorFlow Serving's predict call.

    For signatures with one input, and bodies of nothing but rows of numbers.
    """

    protocol = "v1"

    def decode(self, instance: Instance, scope: Scope, body: bytes) -> Decoded | None:
        codec = _codec(instance)
        inputs = None if codec is None else codec.decode(body)
        if codec is None or inputs is None:
            return None

        return codec.signature, inputs, self._encode

    def not_found(self, error: ModelNotFound) -> Exception:
        return not_found(error, self.spec)

    def _encode(self, outputs: Mapping[str, Array]) -> bytes | Awaitable[bytes]:
        text = encode_plain(outputs)
        if text is not None and len(text) <= self.serving.max_answer_bytes:
            return text

        return self._encode_long(outputs)

    async def _encode_long(self, outputs: Mapping[str, Array]) -> bytes:
        answer = await encode_answer(outputs, ROWS, self.serving.max_answer_bytes)
        return answer if isinstance(answer, bytes) else b"".join(answer)


def _codec(instance: Instance) -> PlainRows | None:
    """Return the codec of an instance's default signature, made once."""
    if instance.codec is None:
        signature = instance.default_signature
        found = None if signature is None else PlainRows.of(signature)
        instance.codec = found or NO_CODEC

    return instance.codec if isinstance(instance.codec, PlainRows) else None
