"""TensorFlow Serving's predict requests: rows (`instances`) or columns (`inputs`).

Shapes and error texts follow its `util/json_tensor.cc`. Deliberate differences:
trailing text, repeated and unknown keys are refused; rows may omit optional inputs;
`outputs` names the outputs to answer, `top_k` asks for the best classes.
"""

from __future__ import annotations

import difflib
import enum
from typing import TYPE_CHECKING, Any, NamedTuple

from inference import MAX_SEED, NO_SAMPLING, UNNAMED, InvalidRequest, Sampling
from service.codecs.json.numbers import FlatNumbers
from service.codecs.json.reader import Stacked, read
from service.codecs.json.values import (
    decode_base64,
    parse,
    parse_beside,
    refuse_duplicates,
    show,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SIGNATURE_KEY = "signature_name"
OUTPUTS_KEY = "outputs"
TOP_K_KEY = "top_k"
SAMPLING_KEYS = ("training", "all_samples", "seed", "samples")
IGNORED_KEYS = (
    *("batch_size", "steps", "verbose"),
    *("max_queue_size", "use_multiprocessing", "workers"),
)
"""Arguments of Keras' `predict`: the server batches requests itself."""

OPTION_KEYS = (SIGNATURE_KEY, OUTPUTS_KEY, TOP_K_KEY, *SAMPLING_KEYS)
EMPTY_KEYS = ("parameters",)
"""Keys that clients of other servers send, by default without a value."""

ADVICE: Mapping[str, str] = {
    "parameters": "send the options themselves beside the values, for example"
    ' "top_k": 3',
    "params": 'send the options themselves beside the values, for example "top_k": 3',
    "output_filter": 'did you mean "outputs"?',
    "model_spec": "the URL names the model and its version, and"
    ' "signature_name" the signature',
    "examples": "that is for a URL that ends with :classify or :regress; this one"
    " takes 'instances' or 'inputs'",
    "instances": "that is for a URL that ends with :predict",
    "inputs": "that is for a URL that ends with :predict",
}
"""Advice on keys of other protocols that aren't near to any of ours."""


class Form(enum.StrEnum):
    """The form of a request and of its answer; the value is the request's key."""

    ROWS = "instances"
    COLUMNS = "inputs"


KEYS = (*Form, *OPTION_KEYS)
MAX_OUTPUTS = 1024
MAX_SAMPLES = 1000
MAX_KEY = 64
"""Characters of an unknown key that are compared with ours."""

ROWS, COLUMNS = Form  # access to an enumeration's members is slow


class Options(NamedTuple):
    """Options that a body may have beside its values.

    `outputs` are names; `top_k` is a number of classes; `sampling` is dropout at
    inference. `ignored` are arguments of
    Keras' `predict` that mean nothing to a server.
    """

    outputs: tuple[str, ...] | None = None
    top_k: int | None = None
    sampling: Sampling = NO_SAMPLING
    ignored: tuple[str, ...] = ()


NO_OPTIONS = Options()


class PredictCall(NamedTuple):
    """A decoded body: values by input name, or one under `UNNAMED`.

    `options` are the keys beside the values. `exact` decodes the values once more,
    for narrowing with one rounding.
    """

    form: Form
    inputs: Mapping[str, Any]
    signature: str | None = None
    options: Options = NO_OPTIONS
    exact: ExactInputs | None = None


class ExactInputs:
    """The inputs of a body as `parse_beside` has them, decoded at most once."""

    __slots__ = ("_body", "_inputs")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._inputs: Mapping[str, Any] | None = None

    def __call__(self) -> Mapping[str, Any]:
        if self._inputs is None:
            document = parse_beside(self._body)
            self._inputs = _inputs(document, _form(document), self._body)

        return self._inputs


def decode(body: bytes) -> PredictCall:
    """Decode a predict body. Raise `InvalidRequest`.

    Regular lists of numbers become `inference.Numbers`.
    """
    form, inputs, signature, options, _ = decode_regular(body) or decode_slowly(body)
    return PredictCall(form, inputs, signature, options, ExactInputs(body))


def decode_regular(body: bytes, *, lists: bool = True) -> PredictCall | None:
    """Decode a body that can be read fast; return `None` for any other.

    If `lists` is false, binding raises `Irregular` instead of taking the slow path.
    """
    document = read(body, lists=lists)
    if document is None:
        return None

    signature = document.pop(SIGNATURE_KEY, "")
    if type(signature) is not str:
        return None

    try:
        options = NO_OPTIONS if len(document) == 1 else pop_options(document)
    except InvalidRequest:
        # The slow path shows what was sent.
        return None

    if len(document) != 1:
        return None

    key, value = document.popitem()
    if key == ROWS and type(value) is FlatNumbers:
        return PredictCall(ROWS, {UNNAMED: value}, signature or None, options)

    if key == ROWS and type(value) is Stacked:
        return PredictCall(ROWS, value, signature or None, options)

    if key == COLUMNS and type(value) is not Stacked:
        return PredictCall(COLUMNS, _columns(value), signature or None, options)

    return None


def decode_slowly(body: bytes) -> PredictCall:
    """Decode any text, with a Python object for each number."""
    document = parse(body)
    if type(document) is not dict:
        raise InvalidRequest(
            f"JSON Value: {show(document)} Is not object: send"
            ' {"instances": [...]} or {"inputs": ...}'
        )

    signature = read_signature_name(document)
    form = _form(document)
    refuse_duplicates(body, document)
    _refuse_tensors(document[form])
    options = pop_options(document)
    unknown = [key for key in document if key not in (form, SIGNATURE_KEY)]
    refuse_unknown(unknown, KEYS, form)
    inputs = _inputs(document, form, body)
    return PredictCall(form, inputs, signature, options)


def _inputs(document: dict[str, Any], form: Form, body: bytes) -> Mapping[str, Any]:
    value = document[form]
    if b'"b64"' in body:
        value = decode_base64(value)

    return _rows(value) if form is ROWS else _columns(value)


def pop_options(document: dict[str, Any]) -> Options:
    """Take the options out of `document`. Raise `InvalidRequest`."""
    names = document.pop(OUTPUTS_KEY, None)
    k = document.pop(TOP_K_KEY, None)
    sampling = NO_SAMPLING
    if any(key in document for key in SAMPLING_KEYS):
        sampling = _pop_sampling(document)

    ignored = tuple(key for key in IGNORED_KEYS if key in document)
    for key in ignored:
        del document[key]

    for key in EMPTY_KEYS:
        if document.get(key, 0) in (None, {}):
            del document[key]

    return Options(
        outputs=None if names is None else _output_names(names),
        top_k=None if k is None else _top_k(k),
        sampling=sampling,
        ignored=ignored,
    )


def _pop_sampling(document: dict[str, Any]) -> Sampling:
    training, keep, seed, samples = (document.pop(key, None) for key in SAMPLING_KEYS)
    for key, value in (("training", training), ("all_samples", keep)):
        if type(value) not in (bool, type(None)):
            raise InvalidRequest(f"'{key}' must be true or false, got {show(value)}")

    _check_whole("seed", seed, 0, MAX_SEED - 1)
    _check_whole("samples", samples, 1, MAX_SAMPLES)
    if keep and samples is None:
        raise InvalidRequest("'all_samples' says nothing without a number of 'samples'")

    return Sampling(training=training, seed=seed, samples=samples, keep=bool(keep))


def _check_whole(key: str, value: Any, least: int, most: int) -> None:
    if value is None or (type(value) is int and least <= value <= most):
        return

    raise InvalidRequest(
        f"'{key}' must be a whole number from {least} to {most}, got {show(value)}"
    )


def _top_k(k: Any) -> int:
    if type(k) is int and 0 < k < 2**31:
        return k

    raise InvalidRequest(
        f"'{TOP_K_KEY}' must be a whole number of classes, 1 or more, got {show(k)}"
    )


def _output_names(names: Any) -> tuple[str, ...]:
    strings = type(names) is list and all(type(name) is str for name in names)
    if strings and 0 < len(names) <= MAX_OUTPUTS:
        return tuple(names)

    raise InvalidRequest(
        f"'{OUTPUTS_KEY}' must be a list of 1 to {MAX_OUTPUTS} names of outputs, got"
        f' {show(names)}: send {{"{OUTPUTS_KEY}": ["name"]}}, or leave it out for the'
        " usual ones"
    )


def read_signature_name(document: dict[str, Any]) -> str | None:
    """Return the signature that a body names, if any. Raise `InvalidRequest`."""
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
            f"{_advise(document, KEYS)}"
        )

    return forms[0]


def refuse_unknown(unknown: Sequence[str], known: Sequence[str], beside: str) -> None:
    """Raise `InvalidRequest` for the `unknown` keys of a body, if there are any.

    It names the nearest of the `known` ones. `beside` is the key of the values.
    """
    if unknown:
        raise InvalidRequest(
            f"there is no key {show(unknown[0])} beside '{beside}'"
            f"{_advise(unknown, known)}"
        )


def _advise(unknown: Iterable[str], known: Sequence[str]) -> str:
    """Return what helps with the first of `unknown` keys that something is known of."""
    for key in unknown:
        if key in known:
            continue

        if key in ADVICE:
            return f": {ADVICE[key]}"

        near = difflib.get_close_matches(key[:MAX_KEY], known, 1)
        if near:
            return f": did you mean {show(near[0])}?"

    return f": the keys are {', '.join(known)}"


def _refuse_tensors(value: Any) -> None:
    """Raise `InvalidRequest` for tensors of the Open Inference Protocol."""
    first = value[0] if type(value) is list and value else None
    if type(first) is dict and first.keys() >= {"name", "shape", "datatype"}:
        raise InvalidRequest(
            "this is a body of the Open Inference Protocol (v2), sent to a URL of"
            " TensorFlow Serving's protocol (v1): send it to"
            " /v2/models/<name>/infer, or send"
            f' {{"inputs": {{{show(first["name"])}: ...}}}}, the data of each tensor'
            " in nested lists of its shape, or 'instances' with a row an item"
        )


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
