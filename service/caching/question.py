"""A prediction as the cache knows it: the key of all that its answer depends on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import anyio.to_thread
import numpy as np

from inference import bind, draws_afresh, select_outputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anyio import CapacityLimiter

    from inference import Array, CachePolicy, PredictRequest

ON_LOOP_BYTES = 1 << 18
"""Up to this size inputs are hashed on the event loop: 1 ms at worst."""

STRING_BYTES = 64
"""The cost of a string beside its bytes, in bytes that are hashed in the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request with bound inputs, and the key of its answer."""

    request: PredictRequest
    key: str


async def ask(
    policy: CachePolicy,
    request: PredictRequest,
    encoding: str,
    limiter: CapacityLimiter,
) -> Question | None:
    """Return the question that a request is; `None` if its answer can't be kept.

    `encoding` names the protocol and form of the answer; `limiter` is for threads that
    hash. Raise `InvalidRequest`,
    `InputMismatch`.
    """
    signature = policy.signatures.get(request.signature or policy.default_signature)
    if signature is None or not signature.repeatable:
        return None

    outputs = select_outputs(signature, request.outputs)
    inputs = bind(signature, request.inputs, request.exact)
    if draws_afresh(signature, inputs, request.sampling):
        return None

    options = (encoding, signature.name, outputs, request.top_k, request.sampling)
    head = f"{policy.digest}\n{options!r}\n".encode()
    size = sum(map(_cost, inputs.values()))
    key = (
        digest_of(head, inputs)
        if size <= ON_LOOP_BYTES
        else await anyio.to_thread.run_sync(digest_of, head, inputs, limiter=limiter)
    )
    return Question(request=replace(request, inputs=inputs, exact=None), key=key)


def digest_of(head: bytes, inputs: Mapping[str, Array]) -> str:
    """Hash named tensors: names, dtypes, shapes and bytes, in the names' order."""
    digest = hashlib.sha256(head)

    for name in sorted(inputs):
        array = inputs[name]
        # Names may hold anything: a representation ends where it ends.
        digest.update(f"{(name, array.dtype.name, array.shape)!r}\n".encode())

        if array.dtype == object:
            lengths = np.fromiter(map(len, array.flat), "<u8", array.size)
            digest.update(lengths.tobytes())
            digest.update(b"".join(array.flat))
        else:
            # As plain bytes: Python's buffers know no bfloat16.
            flat = np.ascontiguousarray(array).reshape(-1)
            digest.update(flat.view(np.uint8).data)

    return digest.hexdigest()


def _cost(array: Array) -> int:
    if array.dtype != object:
        return array.nbytes

    cost = STRING_BYTES * array.size
    # Many aren't even counted on the event loop.
    return cost if cost > ON_LOOP_BYTES else cost + sum(map(len, array.flat))
