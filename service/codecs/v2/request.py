"""Inference requests of the Open Inference Protocol, as JSON and binary data. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from inference import (
    InputMismatch,
    InvalidRequest,
    Signature,
    TensorSpec,
    bind,
    numpy_dtype,
)
from service.codecs.json.values import parse, parse_beside, refuse_duplicates, show
from service.codecs.v2.binary import tensor
from service.codecs.v2.datatypes import BINARY_ONLY, DATATYPES, dtype_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference import Array

HEAD_LENGTH = "Inference-Header-Content-Length"
"""The header with the bytes of JSON in front of binary data."""

MAX_TENSORS = 1024
MAX_RANK = 64
MAX_ID_CHARS = 1024
MAX_NAME_CHARS = 1024
MAX_PARAMETERS = 256

SIGNATURE_NAME = "signature_name"
EXAMPLE = (
    '{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}'
)

_SHARED_MEMORY = "shared_memory_region"
_LARGEST_DIMENSION = 2**63 - 1


class RequestedOutput(NamedTuple):
    """An output to answer: as binary data or not, or as its best classes."""

    name: str
    binary: bool
    classes: int | None = None


class InferCall(NamedTuple):
    """A decoded request: arrays by input name, and how to answer.

    `outputs` `None` asks for the usual ones, all as binary data if `binary`. `timeout`
    is in seconds.
    """

    inputs: Mapping[str, Array]
    id: str = ""
    signature: str | None = None
    outputs: tuple[RequestedOutput, ...] | None = None
    binary: bool = False
    timeout: float | None = None

    @property
    def output_names(self) -> tuple[str, ...] | None:
        """The outputs to ask the engine for, `None` for the usual ones."""
        wanted = self.outputs
        return None if wanted is None else tuple(each.name for each in wanted)


class Sent(NamedTuple):
    """An input as it was sent: `data`, or `nbytes` of the binary data."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: Any = None
    nbytes: int | None = None


class InferHead(NamedTuple):
    """The JSON of a request: a call without arrays, and the inputs as sent."""

    call: InferCall
    sent: tuple[Sent, ...]
    text: bytes

    @property
    def string_bytes(self) -> int:
        """The bytes of binary strings, which are decoded one by one."""
        return sum(each.nbytes or 0 for each in self.sent if each.dtype == "string")


def decode(body: bytes | memoryview, head: int | None = None) -> InferCall:
    """Decode a request whose first `head` bytes are JSON, all of it without.

    Raise `InvalidRequest`, `InputMismatch`.
    """
    size = len(body) if head is None else head
    text = bytes(body[:size])
    return read_inputs(read_head(text), memoryview(body)[size:])


def read_head(text: bytes) -> InferHead:
    """Decode the JSON of a request. Raise `InvalidRequest`."""
    document = _parsed(text)
    inputs, outputs = _tensors(document, "inputs"), _tensors(document, "outputs")
    _refuse_repeated_keys(text, document, inputs)
    if inputs is None:
        raise InvalidRequest(f"the request has no 'inputs': send {EXAMPLE}")

    parameters = _parameters(document, "the request")
    binary = _flag(parameters, "binary_data_output", "the request")
    call = InferCall(
        {},
        id=_id(document.get("id")),
        signature=_signature(parameters.get(SIGNATURE_NAME)),
        outputs=None
        if outputs is None
        else tuple(_requested(each, binary) for each in outputs),
        binary=binary,
        timeout=_timeout(parameters.get("timeout")),
    )
    # An empty list asks for what none asks for, as Triton has it.
    call = call._replace(outputs=call.outputs or None)
    _refuse_repeated("output", [each.name for each in call.outputs or ()])
    sent = tuple(map(_sent, inputs))
    _refuse_repeated("input", [each.name for each in sent])
    return InferHead(call, sent, text)


def read_inputs(head: InferHead, data: memoryview) -> InferCall:
    """Return the call of `head` with its arrays, some of them from binary `data`.

    Raise `InputMismatch`.
    """
    inputs: dict[str, Array] = {}
    for sent in head.sent:
        if sent.nbytes is None:
            inputs[sent.name] = _from_json(sent, head.text)
            continue

        if sent.nbytes > len(data):
            raise InputMismatch(
                f"unexpected size for input '{sent.name}', expecting "
                f"{sent.nbytes - len(data)} additional bytes: its binary_data_size is "
                f"{sent.nbytes}, and {len(data)} bytes are left of the body"
            )

        blob, data = data[: sent.nbytes], data[sent.nbytes :]
        inputs[sent.name] = tensor(sent.name, sent.dtype, sent.shape, blob)

    if len(data):
        raise InputMismatch(
            f"unexpected additional input data: {len(data)} bytes are left behind the "
            "inputs with a binary_data_size. Check the sizes, and the header "
            f"{HEAD_LENGTH}"
        )

    return head.call._replace(inputs=inputs)


def decode_raw(body: memoryview, signature: Signature) -> InferCall:
    """Take a body without JSON for the one input of `signature`.

    One dimension may be variable beside the first, which is then 1. Raise
    `InputMismatch`.
    """
    names = signature.required
    if len(names) != 1:
        raise InputMismatch(
            f"a raw binary request (with '{HEAD_LENGTH}: 0') is for models with one "
            f"input, and this one has {len(names)}: send JSON in front of the data"
        )

    spec = signature.inputs[names[0]]
    shape = _raw_shape(spec, len(body))
    if spec.dtype == "string":
        array = tensor(spec.name, spec.dtype, shape, _one_string(bytes(body)))
    else:
        array = tensor(spec.name, spec.dtype, shape, body)

    return InferCall({spec.name: array}, binary=True)


def head_length(text: str | None, size: int) -> int | None:
    """Return the value of the header that tells the bytes of JSON, of a body's `size`.

    Raise `InvalidRequest` unless it is a number up to the size.
    """
    if text is None:
        return None

    if text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= size:
        return int(text)

    raise InvalidRequest(
        f"the header '{HEAD_LENGTH}: {text[:40]}' must be the number of bytes of JSON "
        f"in front of the binary data: from 0 to {size}, the size of the body"
    )


def _raw_shape(spec: TensorSpec, size: int) -> tuple[int, ...]:
    if spec.dtype == "string":
        shape = tuple(dim or 1 for dim in spec.shape or (1,))
        if math.prod(shape) != 1:
            raise _no_raw_shape(spec)

        return shape

    if spec.dtype not in DATATYPES:
        raise _no_raw_shape(spec)

    if spec.shape is None:
        return (size // numpy_dtype(spec.dtype).itemsize,)

    dims = list(spec.shape)
    if dims.count(None) > 1 and dims[0] is None:
        dims[0] = 1

    if dims.count(None) > 1:
        raise _no_raw_shape(spec)

    known = math.prod(dim for dim in dims if dim is not None)
    rest = size // (known * numpy_dtype(spec.dtype).itemsize) if known else 0
    return tuple(rest if dim is None else dim for dim in dims)


def _no_raw_shape(spec: TensorSpec) -> InputMismatch:
    return InputMismatch(
        f"the shape of input '{spec.name}' can't be told from the bytes of a raw "
        f"binary request (with '{HEAD_LENGTH}: 0'): send JSON in front of the data"
    )


def _one_string(body: bytes) -> bytes:
    return len(body).to_bytes(4, "little") + body


def _parsed(text: bytes) -> dict[str, Any]:
    if not text.strip():
        raise InvalidRequest(f"the request is empty: send {EXAMPLE}")

    try:
        document = parse(text)
    except InvalidRequest as exc:
        raise InvalidRequest(f"{exc}. Send {EXAMPLE}") from None

    if type(document) is not dict:
        raise InvalidRequest(f"the request must be a JSON object: send {EXAMPLE}")

    return document


def _tensors(document: dict[str, Any], key: str) -> list[dict[str, Any]] | None:
    value = document.get(key)
    if value is None:
        return None

    if type(value) is not list or any(type(each) is not dict for each in value):
        raise InvalidRequest(
            f"'{key}' must be a list of objects, got {show(value)}: send {EXAMPLE}"
        )

    if len(value) > MAX_TENSORS:
        raise InvalidRequest(f"'{key}' may hold {MAX_TENSORS}, not {len(value)}")

    return value


def _refuse_repeated_keys(
    text: bytes, document: dict[str, Any], inputs: list[dict[str, Any]] | None
) -> None:
    # Data may be long, and has no keys.
    short = [each | {"data": None} if "data" in each else each for each in inputs or ()]
    refuse_duplicates(text, document | {"inputs": short} if short else document)


def _refuse_repeated(kind: str, names: list[str]) -> None:
    if len(set(names)) == len(names):
        return

    twice = next(name for name in names if names.count(name) > 1)
    raise InvalidRequest(f"{kind} '{twice}' already exists in request: send it once")


def _sent(document: dict[str, Any]) -> Sent:
    name = _name(document, "an input")
    where = f"input '{name}'"
    datatype = document.get("datatype")
    if type(datatype) is not str:
        raise InvalidRequest(f"{where} needs a 'datatype', such as \"FP32\"")

    dtype = dtype_of(name, datatype)
    shape = _shape(name, document.get("shape"))
    parameters = _parameters(document, where)
    if _SHARED_MEMORY in parameters:
        raise _no_shared_memory(where)

    nbytes = parameters.get("binary_data_size")
    if (nbytes is None) == (document.get("data") is None):
        raise InvalidRequest(
            f"{where} must set only one of the following fields: 'data', or "
            "'binary_data_size' in its parameters"
        )

    if nbytes is None:
        if datatype in BINARY_ONLY:
            raise InvalidRequest(
                f"receiving {datatype} data via JSON is not supported: use the binary "
                f"data format for {where}"
            )

        return Sent(name, dtype, shape, data=document["data"])

    if type(nbytes) is not int or nbytes < 0:
        raise InvalidRequest(
            f"binary_data_size of {where} must be a whole number, got {show(nbytes)}"
        )

    return Sent(name, dtype, shape, nbytes=nbytes)


def _shape(name: str, value: Any) -> tuple[int, ...]:
    whole = type(value) is list and all(type(dim) is int for dim in value)
    if not whole or any(not 0 <= dim <= _LARGEST_DIMENSION for dim in value):
        raise InvalidRequest(
            f"input '{name}' needs its 'shape' as a list of whole numbers, got "
            f"{show(value)}"
        )

    if len(value) > MAX_RANK:
        raise InvalidRequest(
            f"input '{name}' has {len(value)} dimensions, and the limit is {MAX_RANK}"
        )

    count = math.prod(value)
    if count > _LARGEST_DIMENSION:
        raise InvalidRequest(
            f"the shape {show(value)} of input '{name}' causes the total element count "
            f"to exceed the maximum of {_LARGEST_DIMENSION}"
        )

    return tuple(value)


def _requested(document: dict[str, Any], binary: bool) -> RequestedOutput:
    name = _name(document, "an output")
    where = f"output '{name}'"
    parameters = _parameters(document, where)
    if _SHARED_MEMORY in parameters:
        raise _no_shared_memory(where)

    if "binary_data" in parameters:
        binary = _flag(parameters, "binary_data", where)

    classes = parameters.get("classification")
    if classes is None or classes == 0 and type(classes) is int:
        return RequestedOutput(name, binary)

    if type(classes) is not int or classes < 0:
        raise InvalidRequest(
            f"classification of {where} must be a number of classes, got "
            f"{show(classes)}"
        )

    return RequestedOutput(name, binary, classes)


def _no_shared_memory(where: str) -> InvalidRequest:
    return InvalidRequest(
        f"{where} names a shared memory region, which this server doesn't use: send "
        "the data as JSON or binary data"
    )


def _name(document: dict[str, Any], what: str) -> str:
    name = document.get("name")
    if type(name) is not str or not name:
        raise InvalidRequest(f"{what} has no 'name': send {EXAMPLE}")

    if len(name) > MAX_NAME_CHARS:
        raise InvalidRequest(
            f"the name of {what} has {len(name)} characters, and the limit is "
            f"{MAX_NAME_CHARS}"
        )

    return name


def _id(value: Any) -> str:
    if value is None:
        return ""

    if type(value) is not str or len(value) > MAX_ID_CHARS:
        raise InvalidRequest(
            f"'id' must be a string of at most {MAX_ID_CHARS} characters, got "
            f"{show(value)}"
        )

    return value


def _parameters(document: dict[str, Any], where: str) -> dict[str, Any]:
    value = document.get("parameters")
    if value is None:
        return {}

    if type(value) is not dict or len(value) > MAX_PARAMETERS:
        raise InvalidRequest(
            f"'parameters' of {where} must be an object of at most {MAX_PARAMETERS} "
            f"values, got {show(value)}"
        )

    for key, item in value.items():
        if type(item) in (dict, list, type(None)):
            raise InvalidRequest(
                f"the parameter '{key[:80]}' of {where} must be a string, a number, "
                f"true or false, got {show(item)}"
            )

        if key.startswith("triton_"):
            raise InvalidRequest(
                f"the parameter '{key[:80]}' of {where} has a name that is reserved: "
                "none may begin with 'triton_'"
            )

    return value


def _flag(parameters: dict[str, Any], key: str, where: str) -> bool:
    value = parameters.get(key, False)
    if type(value) is not bool:
        raise InvalidRequest(
            f"{key} of {where} must be true or false, got {show(value)}"
        )

    return value


def _signature(value: Any) -> str | None:
    if value is None or type(value) is str:
        return value or None

    raise InvalidRequest(f"{SIGNATURE_NAME} must be a string, got {show(value)}")


def _timeout(value: Any) -> float | None:
    """Return microseconds as seconds; 0 is the model's own time."""
    if value is None:
        return None

    if type(value) is not int or value < 0:
        raise InvalidRequest(
            f"timeout must be a whole number of microseconds, got {show(value)}"
        )

    return value / 1e6 if value else None


def _from_json(sent: Sent, text: bytes) -> Array:
    spec = TensorSpec(name=sent.name, tensor="", dtype=sent.dtype, shape=None)
    signature = Signature(name="", inputs={sent.name: spec}, outputs={})

    def exact() -> dict[str, Any]:
        inputs = parse_beside(text)["inputs"]
        return {each["name"]: each["data"] for each in inputs if "data" in each}

    array = bind(signature, {sent.name: sent.data}, exact)[sent.name]
    count = math.prod(sent.shape)
    if array.size != count:
        raise InputMismatch(
            f"unable to parse 'data' of input '{sent.name}': its shape "
            f"{list(sent.shape)} takes {count} values, and {array.size} were sent"
        )

    return array.reshape(sent.shape)
