"""Random masks of dropout: whether a call draws them, and from which seed."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import numpy as np

from inference.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from inference.types import Array, Sampling, Signature

TRAINING, SEED = "training", "seed"
"""The names of the inputs that switch dropout on, and that its masks depend on."""

MAX_SEED = 2**53
"""Seeds below are whole numbers to every reader of JSON."""

_FLOATS = ("float16", "float32", "float64", "bfloat16")


def check_sampling(
    signature: Signature, outputs: Sequence[str], sampling: Sampling
) -> None:
    """Raise `InvalidRequest` if the signature can't be run so."""
    if signature.seed is None:
        if sampling.training or sampling.seed is not None or sampling.samples:
            raise InvalidRequest(
                f"Signature '{signature.name}' has no dropout to switch on. That is "
                'for Keras models whose sidecar says training = "optional".'
            )

        return

    if not sampling.samples:
        return

    if sampling.training is False:
        raise InvalidRequest(
            "'samples' are drawn with dropout on, and 'training' is false: leave one "
            "out."
        )

    if len(outputs) != 1 or signature.outputs[outputs[0]].dtype not in _FLOATS:
        raise InvalidRequest(
            "'samples' is for an answer of one output of floating-point numbers: name "
            f'it, as {{"outputs": ["{outputs[0]}"]}}.'
        )


def with_masks(
    signature: Signature, inputs: Mapping[str, Array], sampling: Sampling
) -> Mapping[str, Array]:
    """Return bound `inputs` with those of `sampling`, and a fresh seed if none is sent.

    Without it every server, and every start of it, would draw the same masks. Raise
    `InvalidRequest` for a value that is sent twice.
    """
    if signature.seed is None:
        return inputs

    sent = dict(inputs)

    if sampling.samples or sampling.training is not None:
        on = bool(sampling.samples or sampling.training)
        _put(sent, TRAINING, np.array(on))

    if sampling.seed is not None:
        _put(sent, signature.seed, np.array(sampling.seed, np.int64))

    if TRAINING in sent and signature.seed not in sent:
        sent[signature.seed] = np.array(secrets.randbelow(MAX_SEED), np.int64)

    return sent


def draws_afresh(
    signature: Signature, inputs: Mapping[str, Array], sampling: Sampling
) -> bool:
    """Return whether a call's masks depend on a seed that isn't the request's."""
    if signature.seed is None or sampling.seed is not None or signature.seed in inputs:
        return False

    sent = TRAINING in inputs and bool(np.any(inputs[TRAINING]))
    return bool(sampling.samples or sampling.training or sent)


def switched_on(signature: Signature, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return `inputs` with dropout on, nothing if the signature has none to switch."""
    if signature.seed is None:
        return {}

    masks = {TRAINING: np.array(True), signature.seed: np.array(1, np.int64)}
    return {**inputs, **masks}


def samples_of(
    signature: Signature, inputs: Mapping[str, Array], sampling: Sampling
) -> Iterator[Mapping[str, Array]]:
    """Yield `inputs` once for each sample, with seeds that follow the first."""
    name = signature.seed or SEED
    first = int(inputs[name])

    for number in range(sampling.samples or 0):
        # Seeds are 64 bits, and begin again after the largest.
        seed = (first + number + 2**63) % 2**64 - 2**63
        yield {**inputs, name: np.array(seed, np.int64)}


def _put(sent: dict[str, Array], name: str, value: Array) -> None:
    if name in sent:
        raise InvalidRequest(
            f"'{name}' is sent twice, as an input and beside the inputs: leave one out."
        )

    sent[name] = value
