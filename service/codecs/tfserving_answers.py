"""TensorFlow Serving's JSON for predict, out: `predictions` or `outputs`. Pure.

As its `util/json_tensor.cc` writes them, but compact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from inference import InvalidRequest
from service.codecs import json_arrays
from service.codecs.tfserving import COLUMNS, ROWS, Form

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from inference import Array

ASK_COLUMNS = "ask in the columnar form, with 'inputs' in place of 'instances'"
FIELD_COST = 64  # numbers that could be written while an object's field is made


def encode(outputs: Mapping[str, Array], form: Form) -> bytes:
    """The answer to a call of `form`; one output alone goes without its name.

    Raises `InvalidRequest` where the outputs can't be written so: in rows, each must
    have a first dimension, all of one size.
    """
    if len(outputs) != 1 or form is COLUMNS:
        return b"".join(encode_pieces(outputs, form))

    _check_ranks(outputs)
    ((name, array),) = outputs.items()
    return b'{"predictions":' + json_arrays.text(name, array) + b"}"


def is_small(outputs: Mapping[str, Array]) -> bool:
    """Whether `encode` is soon over."""
    if len(outputs) == 1:
        return all(map(json_arrays.is_small, outputs.values()))

    return sum(_cost(array) for array in outputs.values()) <= json_arrays.PIECE_COST


def _cost(array: Array) -> int:
    fields = len(array) if array.ndim else 1
    return json_arrays.cost(array) + FIELD_COST * fields


def encode_pieces(outputs: Mapping[str, Array], form: Form) -> Iterator[bytes]:
    """`encode` in pieces, each written by a call that is soon over.

    Raises before the first piece.
    """
    if not outputs:
        raise InvalidRequest("Cannot convert empty tensor map to JSON")

    for name, array in outputs.items():
        json_arrays.check_dtype(name, array)

    if form is ROWS:
        _check_rows(outputs)

    return _ANSWERS[form](outputs)


def _as_columns(outputs: Mapping[str, Array]) -> Iterator[bytes]:
    yield b'{"outputs":'
    yield from _one(outputs) if len(outputs) == 1 else _object(outputs)
    yield b"}"


def _as_rows(outputs: Mapping[str, Array]) -> Iterator[bytes]:
    yield b'{"predictions":'
    yield from _one(outputs) if len(outputs) == 1 else _objects(outputs)
    yield b"}"


_ANSWERS = {ROWS: _as_rows, COLUMNS: _as_columns}


def _one(outputs: Mapping[str, Array]) -> Iterator[bytes]:
    ((name, array),) = outputs.items()
    return json_arrays.pieces(name, array)


def _object(outputs: Mapping[str, Array]) -> Iterator[bytes]:
    opening = b"{"
    for name, array in outputs.items():
        yield opening + orjson.dumps(name) + b":"
        yield from json_arrays.pieces(name, array)
        opening = b","

    yield b"}"


def _objects(outputs: Mapping[str, Array]) -> Iterator[bytes]:
    """One object a row, in groups of rows where they are short."""
    count = len(next(iter(outputs.values())))
    step = _rows_a_piece(outputs) if count else 1
    yield b"["
    for start in range(0, count, step or 1):
        if start:
            yield b","

        if step:
            yield _group({k: a[start : start + step] for k, a in outputs.items()})
        else:
            yield from _object({k: a[start, ...] for k, a in outputs.items()})

    yield b"]"


def _rows_a_piece(outputs: Mapping[str, Array]) -> int:
    row = sum(
        FIELD_COST + json_arrays.cost(array[0, ...]) for array in outputs.values()
    )
    return json_arrays.PIECE_COST // row


def _group(outputs: Mapping[str, Array]) -> bytes:
    columns = (json_arrays.fragments(name, array) for name, array in outputs.items())
    rows = [
        dict(zip(outputs, values, strict=True)) for values in zip(*columns, strict=True)
    ]
    return orjson.dumps(rows)[1:-1]


def _check_ranks(outputs: Mapping[str, Array]) -> None:
    for name, array in outputs.items():
        if array.ndim == 0:
            raise InvalidRequest(
                f"Tensor name: {name} has no shape information: it is a scalar, not"
                f" one value a row; {ASK_COLUMNS}"
            )


def _check_rows(outputs: Mapping[str, Array]) -> None:
    _check_ranks(outputs)
    sizes = {name: len(array) for name, array in outputs.items()}
    wanted = next(iter(sizes.values()))
    for name, size in sizes.items():
        if size != wanted:
            raise InvalidRequest(
                f"Tensor name: {name} has inconsistent batch size: {size} expecting:"
                f" {wanted}; {ASK_COLUMNS}"
            )
