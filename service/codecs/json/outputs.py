"""Outputs encoded as JSON text, at once or in pieces. Pure.

Arrays and ragged outputs are nested lists, sparse outputs objects of their parts.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import orjson

from inference import Ragged, Sparse
from service.codecs.json import arrays

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from inference import Array, Output

LIST_COST = 64  # of starting a row's list, in numbers
_TEXT_COST = 8  # bytes of text that cost as much as a number


def check_output(name: str, output: Output) -> None:
    """Raise `InvalidRequest` for a dtype that JSON can't carry."""
    values = output.values if isinstance(output, Ragged | Sparse) else output
    arrays.check_dtype(name, values)


def output_text(name: str, output: Output) -> bytes:
    """Encode `output` as JSON text. Raise `InvalidRequest` as `check_output` does."""
    if isinstance(output, Ragged | Sparse):
        return b"".join(output_pieces(name, output))

    return arrays.text(name, output)


def output_pieces(name: str, output: Output) -> Iterator[bytes]:
    """Encode as `output_text` does, in pieces that each take a short call."""
    check_output(name, output)

    if isinstance(output, Ragged):
        return _gathered(_nested(name, output))

    if isinstance(output, Sparse):
        return _sparse(name, output)

    return arrays.pieces(name, output)


def output_fragments(name: str, output: Array | Ragged) -> Iterable[orjson.Fragment]:
    """Encode each row, for `orjson.dumps`."""
    if not isinstance(output, Ragged):
        return arrays.fragments(name, output)

    rows = (output.row(index) for index in range(len(output)))
    return map(orjson.Fragment, map(output_text, itertools.repeat(name), rows))


def output_row(output: Array | Ragged, index: int) -> Array | Ragged:
    return output.row(index) if isinstance(output, Ragged) else output[index, ...]


def output_cost(output: Output) -> int:
    """Return the cost of encoding, in numbers encoded in the same time."""
    if isinstance(output, Ragged):
        lists = sum(splits.size for splits in output.row_splits)
        return arrays.cost(output.values) + LIST_COST * lists

    if isinstance(output, Sparse):
        return sum(map(arrays.cost, (output.indices, output.values, output.shape)))

    return arrays.cost(output)


def is_small_output(output: Output) -> bool:
    """Return whether one call encodes it."""
    if isinstance(output, Ragged | Sparse):
        return output_cost(output) <= arrays.PIECE_COST

    return arrays.is_small(output)


def _nested(name: str, ragged: Ragged) -> Iterator[bytes]:
    yield b"["
    for index in range(len(ragged)):
        if index:
            yield b","

        inner = ragged.row(index)
        if isinstance(inner, Ragged):
            yield from _nested(name, inner)
        else:
            yield from arrays.pieces(name, inner)

    yield b"]"


def _sparse(name: str, sparse: Sparse) -> Iterator[bytes]:
    yield b'{"indices":'
    yield from arrays.pieces("indices", sparse.indices)
    yield b',"values":'
    yield from arrays.pieces(name, sparse.values)
    yield b',"shape":' + arrays.text("shape", sparse.shape) + b"}"


def _gathered(tokens: Iterator[bytes]) -> Iterator[bytes]:
    """Join `tokens` to pieces of about `PIECE_COST`."""
    held: list[bytes] = []
    spent = 0
    for token in tokens:
        held.append(token)
        spent += LIST_COST // 2 + len(token) // _TEXT_COST
        if spent >= arrays.PIECE_COST:
            yield b"".join(held)
            held, spent = [], 0

    yield b"".join(held)
