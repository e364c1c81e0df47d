"""Names of signatures, inputs and outputs, which clients must be able to write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference.errors import InvalidModel, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference.types import Signature

MAX_NAME = 512
_SHOWN = 60


def check_names(signatures: Mapping[str, Signature]) -> None:
    """Raise `InvalidModel` for a name that is empty, very long, or not printable."""
    for signature in signatures.values():
        for name in (signature.name, *signature.inputs, *signature.outputs):
            _check(name)


def _check(name: str) -> None:
    if name and len(name) <= MAX_NAME and name.isprintable():
        return

    raise InvalidModel(
        f"'{printable(name[:_SHOWN])}' can't be the name of an input, output or "
        f"signature: it must have 1 to {MAX_NAME} printable characters. Export the "
        "model with another name."
    )
