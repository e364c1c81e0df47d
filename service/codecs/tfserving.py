"""TensorFlow Serving's JSON for predict: rows (`instances`) or columns (`inputs`).

The shapes and the words of the errors are those of its `util/json_tensor.cc`; what
differs on purpose: answers are compact, trailing text, `NaN` and keys that are there
twice are refused, optional inputs may be left out of rows too.
"""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from inference import UNNAMED, InvalidRequest
from service.codecs import json_tensors
from service.codecs.json_tensors import show

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference import Array

SIGNATURE_KEY = "signature_name"
ASK_COLUMNS = "ask in the columnar form, with 'inputs' in place of 'instances'"


class Form(enum.StrEnum):
    """How a request is written, and so its answer; the value is the request's key."""

    ROWS = "instances"
    COLUMNS = "inputs"


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictCall:
    """A decoded body: values by input name, or one under `UNNAMED`."""

    form: Form
    inputs: Mapping[str, Any]
    signature: str | None = None


def decode(body: bytes) -> PredictCall:
    """What a predict body asks for. Raises `InvalidRequest`."""
    document = json_tensors.parse(body)
    if type(document) is not dict:
        raise InvalidRequest(
            f"JSON Value: {show(document)} Is not object: send"
            ' {"instances": [...]} or {"inputs": ...}'
        )

    signature = _signature(document)
    form = _form(document)
    json_tensors.refuse_duplicates(body, _expected_keys(document, form))
    value = document[form]
    if b'"b64"' in body:
        value = json_tensors.decode_base64(value)

    inputs = _rows(value) if form is Form.ROWS else _columns(value)
    return PredictCall(form=form, inputs=inputs, signature=signature)


def _signature(document: dict[str, Any]) -> str | None:
    name = document.get(SIGNATURE_KEY, "")
    if type(name) is not str:
        raise InvalidRequest(
            f"JSON Value: {show(name)} not formatted correctly."
            f" '{SIGNATURE_KEY}' key must be a string value."
        )

    return name or None


def _form(document: dict[str, Any]) -> Form:
    forms = [form for form in Form if form in document]
    if len(forms) > 1:
        raise InvalidRequest(
            "JSON Value: Not formatted correctly expecting only one of 'inputs' or"
            " 'instances' keys to exist: send 'instances' for a list of rows,"
            " 'inputs' for whole tensors"
        )

    if not forms:
        raise InvalidRequest(
            f"Missing 'inputs' or 'instances' key: got {_keys(document)}"
        )

    return forms[0]


def _expected_keys(document: dict[str, Any], form: Form) -> Mapping[str, int]:
    """How often the text has each key of the top level, inputs of that name included.

    Names of inputs are looked at one level down: a repeated one there is not found.
    """
    expected = Counter(key for key in (*Form, SIGNATURE_KEY) if key in document)
    value = document[form]
    for item in value if type(value) is list else [value]:
        if type(item) is dict:
            expected.update(key for key in expected if key in item)

    return expected


def _rows(rows: Any) -> Mapping[str, Any]:
    if type(rows) is not list:
        raise InvalidRequest(
            f"Expecting 'instances' to be an list/array, got {show(rows)}: one item a"
            " row; for whole tensors use 'inputs'"
        )

    if not rows:
        raise InvalidRequest("No values in 'instances' array: send one item a row")

    kinds = set(map(type, rows))
    if kinds == {dict}:
        return _stack(rows)

    if dict in kinds:
        raise _mixed(rows)

    return {UNNAMED: rows}


def _stack(rows: list[dict[str, Any]]) -> Mapping[str, Any]:
    keys = rows[0].keys()
    for index, row in enumerate(rows):
        if row.keys() != keys:
            raise InvalidRequest(
                f"Failed to process element: {index} of 'instances' list. It has"
                f" {_keys(row)}, but keys must be equal to: {_keys(rows[0])}, those of"
                " element 0"
            )

    return {key: [row[key] for row in rows] for key in keys}


def _mixed(rows: list[Any]) -> InvalidRequest:
    first = type(rows[0]) is dict
    index = next(i for i, row in enumerate(rows) if (type(row) is dict) != first)
    wanted, got = ("object", "list") if first else ("value or list", "object")
    if first and type(rows[index]) is not list:
        got = show(rows[index])

    return InvalidRequest(
        f"Expecting {wanted} but got {got} at item {index} of input list: 'instances'"
        " holds either objects, with a key for each input, or values"
    )


def _columns(value: Any) -> Mapping[str, Any]:
    return value if type(value) is dict else {UNNAMED: value}


def _keys(value: Mapping[str, Any]) -> str:
    return show(sorted(value)) if value else "no keys"


def encode(outputs: Mapping[str, Array], form: Form) -> bytes:
    """The answer to a call of `form`; one output alone goes without its name.

    Raises `InvalidRequest` where the outputs can't be written so: in rows, each must
    have a first dimension, all of one size.
    """
    if not outputs:
        raise InvalidRequest("Cannot convert empty tensor map to JSON")

    if form is Form.COLUMNS:
        return orjson.dumps({"outputs": _whole(outputs)})

    return orjson.dumps({"predictions": _by_row(outputs)})


def _whole(outputs: Mapping[str, Array]) -> Any:
    texts = {name: json_tensors.fragment(name, a) for name, a in outputs.items()}
    return texts if len(texts) > 1 else next(iter(texts.values()))


def _by_row(outputs: Mapping[str, Array]) -> Any:
    _check_rows(outputs)
    if len(outputs) == 1:
        return _whole(outputs)

    columns = (json_tensors.rows(name, array) for name, array in outputs.items())
    return [
        dict(zip(outputs, values, strict=True)) for values in zip(*columns, strict=True)
    ]


def _check_rows(outputs: Mapping[str, Array]) -> None:
    for name, array in outputs.items():
        if array.ndim == 0:
            raise InvalidRequest(
                f"Tensor name: {name} has no shape information: it is a scalar, not"
                f" one value a row; {ASK_COLUMNS}"
            )

    sizes = {name: len(array) for name, array in outputs.items()}
    wanted = next(iter(sizes.values()))
    for name, size in sizes.items():
        if size != wanted:
            raise InvalidRequest(
                f"Tensor name: {name} has inconsistent batch size: {size} expecting:"
                f" {wanted}; {ASK_COLUMNS}"
            )
