"""Binding of a client's values to a signature, as arrays of its dtypes and shapes."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import numpy as np

from inference.errors import InputMismatch
from inference.inputs.composites import check_row_splits
from inference.inputs.images import encoded_images
from inference.inputs.nested_lists import LEAVES, is_numbers, leaf_of, strings, to_array
from inference.types import UNNAMED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from inference.types import Array, Shape, Signature, TensorSpec

ARRAYS = (np.ndarray, np.generic)
MAX_LISTED = 10
MAX_NAMED = 80  # a client's name is cut: difflib takes its length squared


def bind(
    signature: Signature,
    inputs: Mapping[str, Any],
    exact: Callable[[], Mapping[str, Any]] | None = None,
) -> dict[str, Array]:
    """Return arrays for `signature`, by input name and in its order.

    A value is an array of the input's dtype, nested lists with Python's `bool`, `int`,
    `float`, `str`, `bytes` at the leaves, or `Numbers`; the key `UNNAMED`, alone,
    stands for the one required input. Strings become object arrays of `bytes`. So do
    images, as files, for an input of pixels: `decode_images` makes rows of them.
    Optional inputs that `inputs` lacks are not in the result. No rows (a dimension of
    0) are allowed. Where the text of a float decides how it is narrowed, `exact`
    returns the inputs once more, their floats moved towards their text.

    Raises `InputMismatch`: a wrong or missing name, dtype, shape, ragged lists, row
    splits that don't fit.
    """
    if len(inputs) == 1 and UNNAMED in inputs:
        name = _only_input(signature)
        return {name: _bind_one(signature.inputs[name], UNNAMED, inputs, exact)}

    _check_names(signature, inputs)
    arrays = {
        name: _bind_one(spec, name, inputs, exact)
        for name, spec in signature.inputs.items()
        if name in inputs
    }

    if signature.takes_parts:
        check_row_splits(signature, arrays)

    return arrays


def _once(name: str, value: Any) -> Any:
    """Return the one value of an input that every row of a request repeats."""
    if is_numbers(value):
        value = value.lists()

    if not isinstance(value, list) or not value:
        return value

    if any(each != value[0] for each in value):
        raise InputMismatch(
            f"input '{name}' is one value for all rows, and these rows differ in"
            " it: send them in several requests"
        )

    return value[0]


def _only_input(signature: Signature) -> str:
    candidates = list(signature.inputs)
    if len(candidates) > 1:
        candidates = signature.required or candidates

    if len(candidates) == 1:
        return candidates[0]

    if not candidates:
        raise InputMismatch(f"signature '{signature.name}' takes no inputs")

    raise InputMismatch(
        f"signature '{signature.name}' wants several inputs, so each value needs its"
        f" name: {_list(signature)}; {_example(signature)}"
    )


def _check_names(signature: Signature, named: Mapping[str, Any]) -> None:
    for name in named:
        if name not in signature.inputs:
            raise _unknown(signature, name)

    if len(named) == len(signature.inputs):
        return

    missing = [name for name in signature.required if name not in named]
    if missing:
        raise InputMismatch(
            f"missing {_quote(missing)}: signature '{signature.name}' wants"
            f" {_list(signature)}; {_example(signature)}"
        )


def _unknown(signature: Signature, name: str) -> InputMismatch:
    close = difflib.get_close_matches(name[:MAX_NAMED], signature.inputs, n=1)
    hint = f", did you mean '{close[0]}'?" if close else ";"
    return InputMismatch(
        f"signature '{signature.name}' does not have named input: {_short(name)}{hint}"
        f" it has {_list(signature)}"
    )


def _bind_one(
    spec: TensorSpec,
    key: str,
    inputs: Mapping[str, Any],
    exact: Callable[[], Mapping[str, Any]] | None,
) -> Array:
    value = _value(spec, inputs[key])
    images = encoded_images(spec, value)

    if images is not None:
        return images

    if isinstance(value, ARRAYS):
        array = _checked(spec, np.asarray(value))
    elif exact is None:
        array = to_array(spec, value)
    else:
        array = to_array(spec, value, lambda: _value(spec, exact()[key]))

    if not _fits(spec.shape, array.shape):
        raise _misshapen(spec, array)

    return array


def _value(spec: TensorSpec, value: Any) -> Any:
    """Return what a request gives for an input: of an optional scalar, one value."""
    return _once(spec.name, value) if spec.shape == () and not spec.required else value


def _checked(spec: TensorSpec, array: Array) -> Array:
    wanted = leaf_of(spec).dtype
    if spec.dtype == "string" and array.dtype.kind in "OSU":
        return _checked_strings(spec, array)

    if array.dtype != wanted:
        raise InputMismatch(
            f"input '{spec.name}' wants {spec.dtype}, got {_dtype_name(array)}"
        )

    return array


def _checked_strings(spec: TensorSpec, array: Array) -> Array:
    kinds = {bytes} if array.dtype.kind == "S" else set(map(type, array.flat))
    if kinds <= {bytes} and array.dtype.kind == "O":
        return array

    flat = array.ravel().tolist()
    if not set(map(type, flat)) <= LEAVES["string"].kinds:
        raise InputMismatch(f"input '{spec.name}' wants strings, got other objects")

    return strings(flat).reshape(array.shape)


def _dtype_name(array: Array) -> str:
    return "string" if array.dtype.kind in "OSU" else array.dtype.name


def _misshapen(spec: TensorSpec, array: Array) -> InputMismatch:
    wanted = show_shape(spec.shape)
    return InputMismatch(
        f"input '{spec.name}' wants shape {wanted}, got {show_shape(array.shape)}"
        f"{_batch_hint(spec.shape, array.shape)}"
    )


def _batch_hint(wanted: Shape, got: tuple[int, ...]) -> str:
    if wanted == ():
        return "; it is one value for the whole request, not one a row"

    if not wanted or not _fits(wanted[1:], got):
        return ""

    return "; the first dimension is missing: put the value into a list"


def _fits(wanted: Shape, got: tuple[int, ...]) -> bool:
    if wanted is None:
        return True

    if len(wanted) != len(got):
        return False

    # A plain loop: a generator takes as long as all the rest of binding one row.
    for want, have in zip(wanted, got, strict=True):
        if want is not None and want != have:
            return False

    return True


def show_shape(shape: Shape) -> str:
    """Format a shape for people: `[?, 32]`, and `[...]` for an unknown rank."""
    if shape is None:
        return "[...]"

    return f"[{', '.join('?' if dim is None else str(dim) for dim in shape)}]"


def _list(signature: Signature) -> str:
    return _cut(
        f"'{name}' ({spec.dtype} {show_shape(spec.shape)}"
        f"{'' if spec.required else ', optional'}{_part(spec)})"
        for name, spec in signature.inputs.items()
    )


def _part(spec: TensorSpec) -> str:
    part = spec.part
    return f", the {part.role} of the {part.kind} tensor '{part.of}'" if part else ""


def _quote(names: list[str]) -> str:
    return ("input " if len(names) == 1 else "inputs ") + _cut(map(repr, names))


def _short(name: str) -> str:
    return name if len(name) <= MAX_NAMED else name[: MAX_NAMED - 3] + "..."


def _example(signature: Signature) -> str:
    names = signature.required or list(signature.inputs)
    pairs = _cut(_pair(signature.inputs[name]) for name in names)
    return f"for example, all rows at once, {{{pairs}}}"


def _cut(parts: Iterable[str]) -> str:
    """Join the parts with commas; those past the tenth are only counted."""
    parts = list(parts)
    more = [f"... ({len(parts) - MAX_LISTED} more)"] if parts[MAX_LISTED:] else []
    return ", ".join(parts[:MAX_LISTED] + more)


def _pair(spec: TensorSpec) -> str:
    return f'"{spec.name}": {_sample(spec)}'


def _sample(spec: TensorSpec) -> str:
    text = {"bool": "true", "string": '"text"'}.get(spec.dtype, "1")
    if spec.dtype in ("float16", "bfloat16", "float32", "float64"):
        text = "0.5"

    for dim in reversed(spec.shape or ()):
        text = f"[{text}]" if dim == 1 else f"[{text}, ...]"

    return text
