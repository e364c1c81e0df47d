"""Inference answered directly: short requests in JSON, for a model in memory."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from inference import InferenceError, ModelId, PredictResult
from service.codecs.v2.checks import check_inputs
from service.codecs.v2.request import HEAD_LENGTH, decode
from service.codecs.v2.response import answer_of
from service.infer import encode_at_once, encode_result
from service.routes.plain import PlainView

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from inference import Array, Instance, Signature
    from service.bridge.bridge import Scope
    from service.codecs.v2.request import InferCall
    from service.routes.plain import Decoded

SPECIAL = {HEAD_LENGTH.lower().encode(), b"accept-encoding"}
"""Headers that only Flask's way heeds."""


class PlainInfer(PlainView):
    """The `DirectView` of the Open Inference Protocol's infer call.

    For requests in JSON, without options, that ask for the usual outputs.
    """

    protocol = "v2"

    def decode(self, instance: Instance, scope: Scope, body: bytes) -> Decoded | None:
        signature = instance.default_signature
        if signature is None or any(name in SPECIAL for name, _ in scope["headers"]):
            return None

        call = self._bind(signature, body)
        if call is None:
            return None

        encode = partial(self._encode, instance, signature, call)
        return signature, call.inputs, encode

    def _encode(
        self,
        instance: Instance,
        signature: Signature,
        call: InferCall,
        outputs: Mapping[str, Array],
    ) -> bytes | Awaitable[bytes]:
        result = PredictResult(
            model=ModelId(self.spec.name, instance.version),
            signature=signature,
            outputs=outputs,
        )
        pieces = encode_at_once(call, self.serving.max_answer_bytes, result)
        if pieces is None:
            return self._encode_long(call, result)

        return b"".join(answer_of(pieces, call.id).pieces)

    async def _encode_long(self, call: InferCall, result: PredictResult) -> bytes:
        pieces = await encode_result(call, self.serving.max_answer_bytes, result)
        return b"".join(answer_of(pieces, call.id).pieces)

    def _bind(self, signature: Signature, body: bytes) -> InferCall | None:
        """Return a plain call with bound inputs, in the signature's order."""
        try:
            call = decode(body)
            check_inputs(signature, call.inputs, self.spec.name)
        except InferenceError:
            return None

        if not _is_plain(call, signature):
            return None

        inputs = {k: call.inputs[k] for k in signature.inputs if k in call.inputs}
        return call._replace(inputs=inputs)


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
