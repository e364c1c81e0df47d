"""Checks of a request against a signature, in the protocol's words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference import InputMismatch, UnknownSignature, encoded_images
from service.codecs.v2.datatypes import shown_datatype
from service.codecs.v2.metadata import shown_shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from inference import Array, Signature, TensorSpec

MAX_LISTED = 10
MAX_SHOWN = 80


def check_inputs(signature: Signature, inputs: Mapping[str, Array], model: str) -> None:
    """Raise `InputMismatch` for wrong or missing names, datatypes and shapes."""
    _check_names(signature, inputs, model)
    for name, array in inputs.items():
        spec = signature.inputs[name]
        if encoded_images(spec, array) is not None:
            continue

        sent = "string" if array.dtype == object else array.dtype.name
        if sent != spec.dtype:
            raise InputMismatch(
                f"inference input '{name}' data-type is '{shown_datatype(sent)}', but "
                f"model '{model}' expects '{shown_datatype(spec.dtype)}'"
            )

        if not _fits(spec, array.shape):
            raise InputMismatch(
                f"unexpected shape for input '{name}' for model '{model}'. Expected "
                f"{shown_shape(spec.shape)}, got {list(array.shape)}"
            )


def check_outputs(
    signature: Signature, names: Sequence[str] | None, model: str
) -> None:
    """Raise `UnknownSignature` for an output that the signature lacks."""
    for name in names or ():
        if name not in signature.outputs:
            raise UnknownSignature(
                f"unexpected inference output '{name[:MAX_SHOWN]}' for model "
                f"'{model}': it has {_list(signature.outputs)}"
            )


def _check_names(signature: Signature, inputs: Mapping[str, Array], model: str) -> None:
    unknown = [name for name in inputs if name not in signature.inputs]
    missing = [name for name in signature.required if name not in inputs]
    if not unknown and not missing:
        return

    least, most = len(signature.required), len(signature.inputs)
    expected = str(most) if least == most else f"between {least} and {most}"
    wrong = [f"missing {_list(missing)}"] if missing else []
    wrong += [f"unknown {_list(unknown)}"] if unknown else []
    raise InputMismatch(
        f"expected {expected} inputs but got {len(inputs)} inputs for model "
        f"'{model}'. Got input(s) [{_list(inputs)}]: {', '.join(wrong)}. It takes "
        f"{_specs(signature)}"
    )


def _fits(spec: TensorSpec, shape: tuple[int, ...]) -> bool:
    if spec.shape is None:
        return True

    return len(shape) == len(spec.shape) and all(
        want in (None, have) for want, have in zip(spec.shape, shape, strict=True)
    )


def _specs(signature: Signature) -> str:
    return _cut(
        f"'{name}' ({shown_datatype(spec.dtype)} {shown_shape(spec.shape)}"
        f"{'' if spec.required else ', optional'})"
        for name, spec in signature.inputs.items()
    )


def _list(names: Iterable[str]) -> str:
    return _cut(f"'{name[:MAX_SHOWN]}'" for name in names)


def _cut(parts: Iterable[str]) -> str:
    parts = list(parts)
    more = [f"... ({len(parts) - MAX_LISTED} more)"] if parts[MAX_LISTED:] else []
    return ", ".join(parts[:MAX_LISTED] + more)
