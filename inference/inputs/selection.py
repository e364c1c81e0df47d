"""The outputs that a request asks for."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from inference.errors import InvalidRequest, UnknownSignature
from inference.inputs.composites import by_whole
from inference.inputs.seeds import check_sampling
from inference.inputs.top_k import check_top_k

if TYPE_CHECKING:
    from inference.types import PredictRequest, Signature

MAX_COMPARED = 80  # difflib takes a name's length squared
MAX_LISTED = 10


def select_outputs(
    signature: Signature, names: tuple[str, ...] | None
) -> tuple[str, ...]:
    """Return the outputs `names`, in the signature's order; `None` for the usual ones.

    The name of a ragged or sparse output stands for its parts. Raise
    `UnknownSignature` for a name that the signature lacks.
    """
    if names is None:
        return signature.usual

    wholes = by_whole(signature.outputs)
    wanted = set(names)

    for name in names:
        if name not in wholes and name not in signature.outputs:
            raise _unknown(signature, name)

    # In one order, so that equal sets of names run as one.
    return tuple(
        spec.name
        for whole, parts in wholes.items()
        if whole in wanted or any(spec.name in wanted for spec in parts)
        for spec in parts
    )


def check_request(
    signature: Signature, outputs: tuple[str, ...], request: PredictRequest
) -> None:
    """Raise `InvalidRequest` if the answer can't be given in the form asked for."""
    check_sampling(signature, outputs, request.sampling)

    if request.top_k is None:
        return

    if request.sampling.samples:
        raise InvalidRequest("'top_k' and 'samples' don't go together: leave one out.")

    check_top_k(signature, outputs, request.top_k)


def _unknown(signature: Signature, name: str) -> UnknownSignature:
    known = list(signature.outputs)
    close = difflib.get_close_matches(name[:MAX_COMPARED], known, n=3)
    listed = close or known[:MAX_LISTED]
    more = "" if close or len(known) <= MAX_LISTED else f" and {len(known)} in all"
    word = "the nearest are" if close else "it has"
    return UnknownSignature(
        f"Signature '{signature.name}' has no output '{name[:MAX_COMPARED]}'; {word}: "
        f"{', '.join(listed)}{more}. Inner layers of a Keras model are outputs once "
        "its sidecar names them in 'layers'."
    )
