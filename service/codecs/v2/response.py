"""Inference responses of the Open Inference Protocol, as JSON and binary data. Pure."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import orjson

from inference import InvalidRequest
from service.codecs.json import arrays
from service.codecs.v2.binary import content
from service.codecs.v2.classification import (
    best_classes,
    check_classes,
    classes_shape,
)
from service.codecs.v2.datatypes import BINARY_ONLY, BYTES, datatype_of
from service.codecs.v2.request import InferCall, RequestedOutput

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from inference import Array, ModelId, PredictResult

_TRAILER = struct.Struct("<I")
"""The last bytes of an encoded answer: the length of its JSON, 0 if that is all.

A kept answer has no place for a header of its own.
"""


class InferAnswer(NamedTuple):
    """A response in pieces; `head` is the length of its JSON before binary data."""

    pieces: list[bytes]
    head: int | None = None


class _Output(NamedTuple):
    """An output as it is answered; `blob` is its binary data, if it is sent so."""

    name: str
    datatype: str
    array: Array
    blob: bytes | None

    def opening(self) -> bytes:
        """Return its JSON up to the data, which follows unless that is binary."""
        document: dict[str, Any] = {
            "name": self.name,
            "datatype": self.datatype,
            "shape": list(self.array.shape),
        }
        if self.blob is not None:
            document["parameters"] = {"binary_data_size": len(self.blob)}
            return orjson.dumps(document)

        return orjson.dumps(document)[:-1] + b',"data":'


def encoding_of(call: InferCall, model: ModelId) -> str:
    """Return the name of a response's form: all that decides it beside the outputs."""
    return f"v2:{model}:{call.binary}:{call.outputs!r}"


def encode_pieces(call: InferCall, result: PredictResult) -> Iterator[bytes]:
    """Encode a response without its id, in pieces that each take a short call.

    Some pieces are empty; `answer_of` makes a response of them. Raise `InvalidRequest`
    before the first one with text for an output that can't be answered as asked for.
    """
    wanted = call.outputs or tuple(
        RequestedOutput(name, call.binary) for name in result.outputs
    )
    # A loop could not be a comprehension here: the steps of each are passed on.
    outputs: list[_Output] = []
    for each in wanted:
        output = yield from _output(each, result)
        outputs.append(output)

    length = 0
    for piece in _json(result.model, outputs):
        length += len(piece)
        yield piece

    blobs = [each.blob for each in outputs if each.blob is not None]
    yield from blobs
    yield _TRAILER.pack(length if blobs else 0)


def answer_of(body: bytes | Sequence[bytes], id: str) -> InferAnswer:
    """Return the response of an encoded answer, to a request with `id`."""
    pieces = [body] if isinstance(body, bytes) else [each for each in body if each]
    [length] = _TRAILER.unpack(pieces[-1][-_TRAILER.size :])
    pieces[-1] = pieces[-1][: -_TRAILER.size]
    first = pieces[0]
    if id:
        pieces[0] = b'{"id":' + orjson.dumps(id) + b"," + first[1:]

    head = length + len(pieces[0]) - len(first) if length else None
    return InferAnswer([each for each in pieces if each], head)


def _json(model: ModelId, outputs: Sequence[_Output]) -> Iterator[bytes]:
    named = {"model_name": model.name, "model_version": str(model.version)}
    yield orjson.dumps(named)[:-1] + b',"outputs":['
    for number, output in enumerate(outputs):
        yield b"," * bool(number) + output.opening()
        if output.blob is None:
            yield from _data(output)
            yield b"}"

    yield b"]}"


def _data(output: _Output) -> Iterator[bytes]:
    if output.array.dtype == object:
        return _strings(output)

    return arrays.pieces(output.name, output.array.reshape(-1))


def _strings(output: _Output) -> Iterator[bytes]:
    items = output.array.ravel().tolist()
    step = arrays.PIECE_COST // arrays.STRING_COST
    yield b"["
    for start in range(0, len(items), step):
        group = [item.decode() for item in items[start : start + step]]
        yield b"," * bool(start) + orjson.dumps(group)[1:-1]

    yield b"]"


def _output(
    wanted: RequestedOutput, result: PredictResult
) -> Generator[bytes, None, _Output]:
    name = wanted.name
    array = result.outputs[name]
    if wanted.classes is not None:
        check_classes(name, array)
        array = yield from _as_classes(array, wanted.classes, result.classes)

    dtype = "string" if array.dtype == object else array.dtype.name
    datatype = datatype_of(name, dtype)
    if wanted.binary:
        return _Output(name, datatype, array, content(array))

    if datatype in BINARY_ONLY:
        raise InvalidRequest(
            f"sending {datatype} data via JSON is not supported: ask for output "
            f"'{name}' with the parameter \"binary_data\": true"
        )

    if datatype == BYTES:
        _check_text(name, array)

    return _Output(name, datatype, array, None)


def _as_classes(
    array: Array, k: int, labels: Sequence[str]
) -> Generator[bytes, None, Array]:
    found: list[bytes] = []
    for some in best_classes(array, k, labels):
        found += some
        yield b""

    strings = np.empty(len(found), object)
    strings[:] = found
    return strings.reshape(classes_shape(array, k))


def _check_text(name: str, array: Array) -> None:
    try:
        for item in array.ravel().tolist():
            item.decode()
    except UnicodeDecodeError:
        raise InvalidRequest(
            f"output '{name}' holds bytes that aren't UTF-8, which JSON can't carry: "
            'ask for it with the parameter "binary_data": true'
        ) from None
