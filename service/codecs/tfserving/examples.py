"""TensorFlow Serving's classify and regress: `examples` of named features. Pure.

Checks and error texts follow its `util/json_tensor.cc`. A signature that takes
serialized `tf.train.Example`s gets those; any other gets each input from the feature
of its name.
"""

from __future__ import annotations

import enum
import math
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import orjson

from inference import InputMismatch, InvalidRequest, show_shape
from service.codecs.json import arrays
from service.codecs.json.values import decode_base64, parse, refuse_duplicates, show
from service.codecs.tfserving.request import (
    SIGNATURE_KEY,
    read_signature_name,
    refuse_unknown,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from inference import Array, Signature, TensorSpec

    Features = Mapping[str, list[Any]]

CONTEXT_KEY = "context"
EXAMPLES_KEY = "examples"
KEYS = (EXAMPLES_KEY, CONTEXT_KEY, SIGNATURE_KEY)

FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})

_JSON_TYPES: Mapping[type, str] = {
    type(None): "Null",
    bool: "Bool",
    dict: "Object",
    list: "Array",
    str: "String",
    bytes: "Object",
    int: "Number",
    float: "Number",
}

# Fields of tensorflow/core/example/feature.proto, by the kind of a feature.
_LISTS: Mapping[str, int] = {"bytes": 1, "float": 2, "int64": 3}
_LENGTH_DELIMITED = 2


class Method(enum.StrEnum):
    """The method of a URL that takes examples."""

    CLASSIFY = "classify"
    REGRESS = "regress"


class ExamplesCall(NamedTuple):
    """A decoded body; the features of `examples` include those of its context."""

    examples: Sequence[Features]
    signature: str | None


def decode_examples(body: bytes, method: Method) -> ExamplesCall:
    """Decode the body of `method`. Raise `InvalidRequest`."""
    document = parse(body)
    if type(document) is not dict:
        raise InvalidRequest(
            f"JSON Value: {show(document)} Is not object: send"
            ' {"examples": [{"feature": 1.0}]}'
        )

    signature = read_signature_name(document)
    refuse_duplicates(body, document)
    if b'"b64"' in body:
        document = decode_base64(document)

    unknown = [key for key in document if key not in KEYS]
    examples = _examples(document, method)
    refuse_unknown(unknown, KEYS, EXAMPLES_KEY)
    context = _features(document.get(CONTEXT_KEY, {}), CONTEXT_KEY)
    joined = [
        {**context, **_features(example, f"element {index} of '{EXAMPLES_KEY}'")}
        for index, example in enumerate(examples)
    ]
    return ExamplesCall(joined, signature)


def _examples(document: Mapping[str, Any], method: Method) -> list[Any]:
    if EXAMPLES_KEY not in document:
        raise InvalidRequest(
            f"JSON Value: {show(document)} When method is {method}, key 'examples' is"
            " expected and was not found: send an object of features for each example"
        )

    examples = document[EXAMPLES_KEY]
    if type(examples) is not list:
        raise InvalidRequest(
            f"Expecting 'examples' value to be an list/array, got {show(examples)}"
        )

    if not examples:
        raise InvalidRequest("'examples' value is an empty array: send one or more")

    return examples


def _features(example: Any, where: str) -> Features:
    if type(example) is not dict:
        raise InvalidRequest(
            f"Example must be JSON object but got JSON {_json_type(example)}: {where}"
            ' is to be like {"feature": 1.0}'
        )

    features = {
        name: value if type(value) is list else [value]
        for name, value in example.items()
    }
    for name, values in features.items():
        _check_feature(name, values)

    return features


def _check_feature(name: str, values: list[Any]) -> None:
    for value in values:
        if type(value) in (list, dict, type(None)):
            raise InvalidRequest(
                f"Feature: {name} has element with unexpected JSON type:"
                f" {_json_type(value)}; a feature is a value or a flat list of values"
            )

    kinds = [_kind(value) for value in values]
    if len(set(kinds)) > 1:
        other = next(kind for kind in kinds if kind != kinds[0])
        raise InvalidRequest(
            f"Unexpected element type in feature: {name} expecting type: {kinds[0]},"
            f" got {other}; numbers with a fraction or an exponent are floats, others"
            " int64"
        )


def _json_type(value: Any) -> str:
    return _JSON_TYPES[type(value)]


def _kind(value: Any) -> str:
    if isinstance(value, str | bytes):
        return "bytes"

    return "float" if isinstance(value, float) else "int64"


def takes_examples(signature: Signature, examples: Sequence[Features]) -> bool:
    """Return whether a signature's one input is of serialized examples.

    A signature declared for predictions may take them too; then it has one input of
    strings, which the examples don't name.
    """
    if len(signature.inputs) != 1:
        return False

    (spec,) = signature.inputs.values()
    if spec.dtype != "string" or len(spec.shape or (None,)) != 1:
        return False

    return signature.method in tuple(Method) or spec.name not in examples[0]


def bind_examples(signature: Signature, examples: Sequence[Features]) -> dict[str, Any]:
    """Return the inputs of `signature`, by name, for `bind`. Raise `InputMismatch`."""
    if takes_examples(signature, examples):
        (name,) = signature.inputs
        serialized = np.empty(len(examples), object)
        serialized[:] = [serialize(example) for example in examples]
        return {name: serialized}

    # A feature of another name is for `bind` to refuse.
    names = dict.fromkeys(name for example in examples for name in example)
    return {name: _column(signature, name, examples) for name in names}


def _column(signature: Signature, name: str, examples: Sequence[Features]) -> list[Any]:
    lacking = next((i for i, each in enumerate(examples) if name not in each), None)
    if lacking is not None:
        raise InputMismatch(
            f"element {lacking} of 'examples' has no feature '{name}', which others"
            f" have: signature '{signature.name}' takes it from each"
        )

    spec = signature.inputs.get(name)
    return [
        each[name] if spec is None else _row(spec, each[name], index)
        for index, each in enumerate(examples)
    ]


def _row(spec: TensorSpec, values: list[Any], index: int) -> Any:
    """Return the values of one example in the shape of a row."""
    shape = (spec.shape or ())[1:]
    if len(shape) == 1 and shape[0] in (None, len(values)):
        return values

    if spec.shape is None:
        return values[0] if len(values) == 1 else values

    try:
        row = np.array([*values, None], object)[:-1]
        return row.reshape([-1 if size is None else size for size in shape]).tolist()
    except ValueError:
        raise InputMismatch(
            f"feature '{spec.name}' of element {index} of 'examples' has"
            f" {len(values)} values, and input '{spec.name}' wants rows of shape"
            f" {show_shape(shape)}"
        ) from None


def serialize(features: Features) -> bytes:
    """Return a `tf.train.Example`, in protobuf's wire format. Raise `InvalidRequest`.

    Strings become bytes, and Booleans the integers 0 and 1.
    """
    entries = (
        _field(1, _field(1, name.encode()) + _field(2, _feature(name, values)))
        for name, values in features.items()
    )
    return _field(1, b"".join(entries))


def _feature(name: str, values: list[Any]) -> bytes:
    if not values:
        return b""

    kind = _kind(values[0])
    if kind == "bytes":
        texts = (v.encode() if isinstance(v, str) else v for v in values)
        content = b"".join(_field(1, text) for text in texts)
    elif kind == "float":
        content = _field(1, np.array(_singles(values), "<f4").tobytes())
    else:
        content = _field(1, b"".join(_int64(name, value) for value in values))

    return _field(_LISTS[kind], content)


def _singles(values: Iterable[float]) -> Array:
    with np.errstate(over="ignore"):
        return np.array(list(values)).astype(np.float32)


def _int64(name: str, value: int) -> bytes:
    try:
        (unsigned,) = struct.unpack("<Q", struct.pack("<q", value))
    except struct.error:
        raise InvalidRequest(
            f"Feature: {name} has uint64_t element. Only int64_t is supported."
        ) from None

    return _varint(unsigned)


def _field(number: int, content: bytes) -> bytes:
    tag = bytes([number << 3 | _LENGTH_DELIMITED])
    return tag + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7

    groups.append(number)
    return bytes(groups)


def output_names(signature: Signature, method: Method) -> tuple[str, ...]:
    """Return the outputs that the results of `method` are made of.

    Raise `InvalidRequest` if the signature's can't be.
    """
    wanted = ("classes", "scores") if method is Method.CLASSIFY else ("outputs",)
    found = tuple(name for name in wanted if name in signature.outputs)
    if found or len(signature.usual) == 1:
        return found or signature.usual

    listed = ", ".join(f"'{name}'" for name in signature.usual)
    raise InvalidRequest(
        f"{method} needs {' or '.join(map(repr, wanted))} among the outputs, or one"
        f" output alone, and signature '{signature.name}' has {listed}: use :predict"
    )


def labelled_classes(signature: Signature, method: Method) -> int | None:
    """Return the number of classes whose names the engine is to be asked for.

    `None` where the signature names them itself, or isn't known to have scores.
    """
    if method is not Method.CLASSIFY or signature.method == Method.CLASSIFY:
        return None

    if "classes" in signature.outputs or len(signature.usual) != 1:
        return None

    shape = signature.outputs[signature.usual[0]].shape or ()
    scores = signature.outputs[signature.usual[0]].dtype in FLOATS
    return shape[1] if len(shape) == 2 and scores else None


def encode_results(
    outputs: Mapping[str, Array], method: Method, examples: int
) -> bytes:
    """Encode the answer to a call of `method` with a number of examples.

    Raise `InvalidRequest` for outputs that aren't classes, scores or a number for each
    example.
    """
    encode = _classifications if method is Method.CLASSIFY else _regressions
    return b'{"results":' + encode(outputs, examples) + b"}"


def _classifications(outputs: Mapping[str, Array], examples: int) -> bytes:
    classes, scores = _labels_and_scores(outputs)
    for name, array in (("classes", classes), ("scores", scores)):
        if array is not None and (array.ndim != 2 or len(array) != examples):
            raise _misfit(name, array, Method.CLASSIFY, f"[{examples}, ?]")

    shapes = {array.shape for array in (classes, scores) if array is not None}
    if len(shapes) > 1:
        raise InvalidRequest(
            f"classify needs a score for each class, and the outputs have the shapes"
            f" {' and '.join(show_shape(shape) for shape in sorted(shapes))}"
        )

    (shape,) = shapes
    if not math.prod(shape):
        raise InvalidRequest("Received empty ClassificationResults: no class came back")

    labels = np.full(shape, b"", object) if classes is None else _names(classes)
    numbers = np.zeros(shape, np.float32) if scores is None else scores
    pairs = list(
        zip(
            arrays.fragments("classes", labels.ravel()),
            arrays.fragments("scores", numbers.ravel()),
            strict=True,
        )
    )
    count = shape[1]
    return orjson.dumps([pairs[i : i + count] for i in range(0, len(pairs), count)])


def _names(classes: Array) -> Array:
    """Return classes as strings; those of a model without names are indices."""
    return classes if classes.dtype == object else classes.astype(str).astype(object)


def _labels_and_scores(
    outputs: Mapping[str, Array],
) -> tuple[Array | None, Array | None]:
    if not outputs.keys() & {"classes", "scores"}:
        (name, array) = next(iter(outputs.items()))
        outputs = {"classes" if array.dtype == object else "scores": array}

    return outputs.get("classes"), outputs.get("scores")


def _regressions(outputs: Mapping[str, Array], examples: int) -> bytes:
    ((name, array),) = outputs.items()
    if not array.size:
        raise InvalidRequest("Received empty RegressionResults: no number came back")

    if array.shape not in ((examples,), (examples, 1)) or array.dtype == object:
        raise _misfit(name, array, Method.REGRESS, f"[{examples}] or [{examples}, 1]")

    return arrays.text(name, array.reshape(-1))


def _misfit(name: str, array: Array, method: Method, wanted: str) -> InvalidRequest:
    return InvalidRequest(
        f"{method} needs an output of shape {wanted}, and '{name}' is"
        f" {array.dtype.name} {show_shape(array.shape)}: use :predict"
    )
