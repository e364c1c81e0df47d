"""Strict conversion of nested lists to arrays: nothing is guessed or cast."""

from __future__ import annotations

import itertools
import reprlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

import ml_dtypes
import numpy as np

from inference.errors import InputMismatch
from inference.inputs.narrowing import depends_on_text, narrow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inference.types import Array, Numbers, TensorSpec

MAX_RANK = 64  # numpy's NPY_MAXDIMS
LISTS = frozenset({list, tuple})

_show = reprlib.repr


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """The Python types that a dtype takes, and the dtype of their array."""

    kinds: frozenset[type]
    dtype: np.dtype[Any]
    wanted: str


def _leaves() -> Mapping[str, Leaf]:
    number = frozenset({int, float})
    floats = {"float16", "bfloat16", "float32", "float64"}
    ints = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
    leaves = {
        "bool": Leaf(
            kinds=frozenset({bool}), dtype=np.dtype(bool), wanted="true or false"
        ),
        "string": Leaf(
            kinds=frozenset({str, bytes}), dtype=np.dtype(object), wanted="a string"
        ),
    }
    for name in floats:
        dtype = np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
        leaves[name] = Leaf(kinds=number, dtype=dtype, wanted="a number")

    for name in ints:
        leaves[name] = Leaf(
            kinds=frozenset({int}), dtype=np.dtype(name), wanted="an integer"
        )

    return leaves


LEAVES = _leaves()

_NAMES: Mapping[type, str] = {
    bool: "a boolean",
    int: "an integer",
    float: "a number with a fraction or exponent",
    str: "a string",
    bytes: "bytes",
    list: "a list",
    tuple: "a list",
    dict: "an object",
    type(None): "null",
}


def leaf_of(spec: TensorSpec) -> Leaf:
    """Return what `spec` takes. Raises `InputMismatch` if clients can't send it."""
    leaf = LEAVES.get(spec.dtype)
    if leaf is None:
        raise InputMismatch(
            f"input '{spec.name}' is of dtype {spec.dtype}, which can't be sent;"
            f" dtypes that can: {', '.join(sorted(LEAVES))}"
        )

    return leaf


def to_array(
    spec: TensorSpec, value: Any, exact: Callable[[], Any] | None = None
) -> Array:
    """Convert `value` to an array of `spec.dtype`.

    `value` is a leaf, nested lists of them, or `Numbers`. Floats are narrowed silently
    (beyond the range: infinity), as TensorFlow Serving does; integers must fit exactly.
    Where the text of a float decides, `exact` returns `value` from the text once more,
    its floats moved towards it.
    The dimensions below an empty list are those of `spec.shape`. Raises
    `InputMismatch`, with the place, for ragged lists and wrong leaves.
    """
    leaf = leaf_of(spec)
    if is_numbers(value):
        array = value.array(leaf.dtype)
        if array is not None:
            return array

        value = value.lists()

    shape, flat = _flatten(spec, value)
    _check_leaves(spec, leaf, shape, flat)
    if not flat:
        return np.empty(_complete(spec, shape), leaf.dtype)

    if spec.dtype == "string":
        return strings(flat).reshape(shape)

    return _numbers(spec, leaf, shape, flat, exact).reshape(shape)


def is_numbers(value: Any) -> TypeGuard[Numbers]:
    return type(value) is not list and hasattr(value, "lists")


def strings(flat: list[str | bytes]) -> Array:
    """Return a flat object array of `bytes`; text is encoded as UTF-8."""
    array = np.empty(len(flat), object)
    array[:] = [item.encode() if isinstance(item, str) else item for item in flat]
    return array


def _flatten(spec: TensorSpec, value: Any) -> tuple[tuple[int, ...], list[Any]]:
    # Level by level, in C loops: a recursive walk takes ten times as long.
    shape: list[int] = []
    level = [value]
    kinds = {type(value)}
    while kinds and kinds <= LISTS:
        lengths = set(map(len, level))
        if len(lengths) > 1 or len(shape) == MAX_RANK:
            raise _ragged(spec, level, shape)

        shape.append(lengths.pop())
        level = list(itertools.chain.from_iterable(level))
        kinds = set(map(type, level))

    if kinds & LISTS:
        raise _mixed(spec, level, shape)

    return tuple(shape), level


def _complete(spec: TensorSpec, shape: tuple[int, ...]) -> tuple[int, ...]:
    missing = (spec.shape or ())[len(shape) :]
    return shape + tuple(dim or 0 for dim in missing)


def _numbers(
    spec: TensorSpec,
    leaf: Leaf,
    shape: tuple[int, ...],
    flat: list[Any],
    exact: Callable[[], Any] | None,
) -> Array:
    try:
        if leaf.dtype.kind in "biu":
            return np.fromiter(flat, leaf.dtype, len(flat))

        numbers = np.fromiter(flat, float, len(flat))
    except OverflowError:
        raise _out_of_range(spec, leaf, shape, flat) from None

    array = narrow(numbers, leaf.dtype)
    if exact is None or not depends_on_text(numbers, array):
        return array

    _, flat = _flatten(spec, exact())
    return narrow(np.fromiter(flat, float, len(flat)), leaf.dtype)


def _check_leaves(
    spec: TensorSpec, leaf: Leaf, shape: tuple[int, ...], flat: list[Any]
) -> None:
    if set(map(type, flat)) <= leaf.kinds:
        return

    index = next(i for i, item in enumerate(flat) if type(item) not in leaf.kinds)
    got = flat[index]
    raise InputMismatch(
        f"{_at(spec, index, shape)} wants {leaf.wanted}, got {_show(got)}"
        f" ({_name(got)}), which is not of expected type: {spec.dtype}"
    )


def _out_of_range(
    spec: TensorSpec, leaf: Leaf, shape: tuple[int, ...], flat: list[Any]
) -> InputMismatch:
    index = next(i for i, item in enumerate(flat) if not _fits(leaf, item))
    text = f"{_at(spec, index, shape)} wants {spec.dtype}, got {_show(flat[index])}"
    if leaf.dtype.kind not in "iu":
        return InputMismatch(f"{text}, which is too large")

    limits = np.iinfo(leaf.dtype)
    return InputMismatch(f"{text}, which is not within {limits.min} to {limits.max}")


def _fits(leaf: Leaf, item: Any) -> bool:
    try:
        np.fromiter([item], leaf.dtype if leaf.dtype.kind in "biu" else float, 1)
    except OverflowError:
        return False

    return True


def _ragged(spec: TensorSpec, level: list[Any], shape: list[int]) -> InputMismatch:
    if len(shape) == MAX_RANK:
        return InputMismatch(f"input '{spec.name}' is nested deeper than {MAX_RANK}")

    size = len(level[0])
    index = next(i for i, item in enumerate(level) if len(item) != size)
    return InputMismatch(
        f"{_at(spec, index, shape)} is ragged: Expecting tensor size: {size}"
        f" but got: {len(level[index])}; all lists of a level must be of one length"
    )


def _mixed(spec: TensorSpec, level: list[Any], shape: list[int]) -> InputMismatch:
    leaf_first = type(level[0]) not in LISTS
    index = next(i for i, x in enumerate(level) if (type(x) in LISTS) == leaf_first)
    mixture = _mixture(level[0], level[index], len(shape) - 1)
    return InputMismatch(
        f"{_at(spec, index, shape)}: {mixture};"
        " a level holds either lists or values, not both"
    )


def _mixture(first: Any, other: Any, depth: int) -> str:
    """Return TensorFlow Serving's words, by the depth of both in a row."""
    if not depth:
        return f"Expecting shape {_shape_of(first)} but got: {_shape_of(other)}"

    if type(first) not in LISTS:
        return f"list at unexpected level: {depth} expected < {depth}"

    return (
        f"value found at incorrect level: {depth + 1} in the JSON DOM. Expected at"
        f" level: {depth + 1}"
    )


def _shape_of(item: Any) -> str:
    return f"[{len(item)}]" if type(item) in LISTS else "[]"


def _at(spec: TensorSpec, index: int, shape: tuple[int, ...] | list[int]) -> str:
    place = np.unravel_index(index, tuple(shape)) if shape else ()
    brackets = "".join(f"[{i}]" for i in place)
    return f"input '{spec.name}'" + (f" at {brackets}" if brackets else "")


def _name(item: Any) -> str:
    return _NAMES.get(type(item), type(item).__name__)
