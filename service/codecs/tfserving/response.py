"""TensorFlow Serving's predict responses: `predictions` or `outputs`. Pure.

They follow its `util/json_tensor.cc`, but are compact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from inference import InvalidRequest, Ragged, Sparse
from service.codecs.json import arrays
from service.codecs.json.outputs import (
    check_output,
    is_small_output,
    output_cost,
    output_fragments,
    output_pieces,
    output_row,
    output_text,
)
from service.codecs.tfserving.request import COLUMNS, Form

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from inference import Array, Output

    Rows = Array | Ragged

ASK_COLUMNS = "ask in the columnar form, with 'inputs' in place of 'instances'"
FIELD_COST = 64  # of an object's field, in numbers
LEAST_BYTES = 2  # of a number in JSON: a digit and a comma


def encode(outputs: Mapping[str, Output], form: Form) -> bytes:
    """Encode the answer to a call of `form`; a single output has no name.

    Raise `InvalidRequest` if the outputs don't fit the form: in rows, each must have a
    first dimension of the same size, and at least one must be a tensor. Sparse outputs
    have no rows, and appear in columns only.
    """
    if len(outputs) != 1 or form is COLUMNS:
        return b"".join(encode_pieces(outputs, form))

    _check_ranks(_with_rows(outputs))
    ((name, array),) = outputs.items()
    return b'{"predictions":' + output_text(name, array) + b"}"


def check_size(outputs: Mapping[str, Output], max_bytes: float) -> None:
    """Raise `InvalidRequest` if JSON of `outputs` is surely longer than `max_bytes`."""
    values = (
        v.values if isinstance(v, Ragged | Sparse) else v for v in outputs.values()
    )
    least = LEAST_BYTES * sum(array.size for array in values)
    if least > max_bytes:
        raise too_long(max_bytes, f"at least {least}")


def bounded(pieces: Iterable[bytes], max_bytes: float) -> Iterator[bytes]:
    """Yield `pieces`. Raise `InvalidRequest` before more than `max_bytes`."""
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > max_bytes:
            raise too_long(max_bytes, "more")

        yield piece


def too_long(max_bytes: float, size: str) -> InvalidRequest:
    return InvalidRequest(
        f"the answer is over the limit of {max_bytes:.0f} bytes: it has {size}. Send"
        " fewer rows at a time, name the 'outputs' that you need, or raise the limit"
        " with --max-answer-bytes or TANDEM_MAX_ANSWER_BYTES"
    )


def is_small(outputs: Mapping[str, Output]) -> bool:
    """Return whether `encode` takes only a short call."""
    if len(outputs) == 1:
        return all(map(is_small_output, outputs.values()))

    return sum(_cost(array) for array in outputs.values()) <= arrays.PIECE_COST


def _cost(output: Output) -> int:
    fields = 1 if isinstance(output, Sparse) or not output.ndim else len(output)
    return output_cost(output) + FIELD_COST * fields


def encode_pieces(outputs: Mapping[str, Output], form: Form) -> Iterator[bytes]:
    """Encode as `encode` does, in pieces that each take a short call.

    Raise `InvalidRequest` before the first piece.
    """
    if not outputs:
        raise InvalidRequest("Cannot convert empty tensor map to JSON")

    for name, array in outputs.items():
        check_output(name, array)

    if form is COLUMNS:
        return _as_columns(outputs)

    rows = _with_rows(outputs)
    _check_rows(rows)
    return _as_rows(rows)


def _as_columns(outputs: Mapping[str, Output]) -> Iterator[bytes]:
    yield b'{"outputs":'
    yield from _one(outputs) if len(outputs) == 1 else _object(outputs)
    yield b"}"


def _as_rows(outputs: Mapping[str, Rows]) -> Iterator[bytes]:
    yield b'{"predictions":'
    yield from _one(outputs) if len(outputs) == 1 else _objects(outputs)
    yield b"}"


def _with_rows(outputs: Mapping[str, Output]) -> dict[str, Rows]:
    """Return the outputs that have rows. Raise `InvalidRequest` if none is a tensor."""
    rows = {k: v for k, v in outputs.items() if not isinstance(v, Sparse)}
    if any(not isinstance(each, Ragged) for each in rows.values()):
        return rows

    name, output = next(iter(outputs.items()))
    kind = "sparse" if isinstance(output, Sparse) else "ragged"
    raise InvalidRequest(
        f"Tensor name: {name} is {kind}, not one tensor with a value a row;"
        f" {ASK_COLUMNS}"
    )


def _one(outputs: Mapping[str, Output]) -> Iterator[bytes]:
    ((name, array),) = outputs.items()
    return output_pieces(name, array)


def _object(outputs: Mapping[str, Output]) -> Iterator[bytes]:
    opening = b"{"
    for name, array in outputs.items():
        yield opening + orjson.dumps(name) + b":"
        yield from output_pieces(name, array)
        opening = b","

    yield b"}"


def _objects(outputs: Mapping[str, Rows]) -> Iterator[bytes]:
    """Encode an object a row; short rows in groups."""
    count = len(next(iter(outputs.values())))
    step = _rows_a_piece(outputs) if count else 1
    yield b"["
    for start in range(0, count, step or 1):
        if start:
            yield b","

        if step:
            stop = start + step
            yield _group({k: _slice(v, start, stop) for k, v in outputs.items()})
        else:
            yield from _object({k: output_row(v, start) for k, v in outputs.items()})

    yield b"]"


def _rows_a_piece(outputs: Mapping[str, Rows]) -> int:
    row = sum(FIELD_COST + output_cost(each) // len(each) for each in outputs.values())
    return arrays.PIECE_COST // row


def _slice(output: Rows, start: int, stop: int) -> Rows:
    if isinstance(output, Ragged):
        return output.rows(start, stop)

    return output[start:stop]


def _group(outputs: Mapping[str, Rows]) -> bytes:
    columns = (output_fragments(name, array) for name, array in outputs.items())
    rows = [
        dict(zip(outputs, values, strict=True)) for values in zip(*columns, strict=True)
    ]
    return orjson.dumps(rows)[1:-1]


def _check_ranks(outputs: Mapping[str, Rows]) -> None:
    for name, array in outputs.items():
        if array.ndim == 0:
            raise InvalidRequest(
                f"Tensor name: {name} has no shape information: it is a scalar, not"
                f" one value a row; {ASK_COLUMNS}"
            )


def _check_rows(outputs: Mapping[str, Rows]) -> None:
    _check_ranks(outputs)
    sizes = {name: len(array) for name, array in outputs.items()}
    wanted = next(iter(sizes.values()))
    for name, size in sizes.items():
        if size != wanted:
            raise InvalidRequest(
                f"Tensor name: {name} has inconsistent batch size: {size} expecting:"
                f" {wanted}; {ASK_COLUMNS}"
            )
