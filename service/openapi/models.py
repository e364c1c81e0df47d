"""The calls of one model, from the signatures of the version that answers. Pure.

Paths have the model's own name: each model takes and gives tensors of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from inference import ModelState, layout_of
from service.codecs.tfserving.examples import Method
from service.codecs.tfserving.image import IMAGE_TYPES
from service.jobs.rows import NPY, NPZ
from service.openapi import examples, schemas
from service.openapi.operations import (
    JSON,
    OCTETS,
    add_kinds,
    answer,
    headers,
    operation,
    parameter,
    request_body,
    response,
    schema,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from inference import ModelStatus, Signature
    from service.openapi.operations import Entry

LATER = (parameter("Prefer"), parameter("IdempotencyKey"))
ERRORS = (400, 404, 413, 415, 422, 429, 500, 503, 504)
NO_EXAMPLE = "There is no example: it would be long, or no values are known to work."
PREDICT = (
    "Rows in `instances`, or whole tensors in `inputs`; arrays of NumPy or an image as"
    f" the body, with `?signature_name=`. {schemas.NON_FINITE}"
)
EXAMPLES = (
    "Features by the inputs' names, or those of a parser of `tf.train.Example`s in the"
    " model; `context` is added to each."
)
INFER = (
    "Tensors as JSON, or as binary data behind it: `Inference-Header-Content-Length`"
    " is the JSON's length then."
)


class Address(NamedTuple):
    """A version at its place in URLs: `flowers`, `flowers/versions/2`, …/labels/…."""

    place: str
    status: ModelStatus
    label: bool = False

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The signatures that answer: none while it loads or is unloaded."""
        available = self.status.state is ModelState.AVAILABLE
        return self.status.signatures if available else {}

    @property
    def default(self) -> Signature | None:
        return self.signatures.get(self.status.default_signature or "")


def model_tag(address: Address) -> Entry:
    status = address.status
    text = f"{status.format or 'Model'}, version {status.id.version}"
    return {"name": status.id.name, "description": text}


def model_paths(address: Address) -> dict[str, Entry]:
    """Return the operations of a model at one of its addresses."""
    if not address.signatures:
        return {}

    url = f"/v1/models/{address.place}"
    paths = {f"{url}:predict": {"post": _predict(address)}}
    for method in Method:
        if found := _examples(address, method):
            paths[f"{url}:{method}"] = {"post": found}

    # The second protocol knows no labels.
    if address.default is not None and not address.label:
        url = f"/v2/models/{address.place}/infer"
        paths[url] = {"post": _infer(address, address.default)}

    return paths


def _predict(address: Address) -> Entry:
    bodies, answers, shown = [], [], {}
    for signature, named in _signatures(address):
        bodies.append(schemas.predict_body(signature, named=named))
        answers.append(schemas.predict_answer(signature))
        example = examples.predict_example(signature, named=named)
        if example is not None:
            shown[signature.name] = example

    body = request_body(_any_of(bodies), shown)
    good = answer("The model's outputs.", _any_of(answers))
    add_kinds(body, NPY, NPZ)
    add_kinds(good, NPY, NPZ)
    if _takes_images(address):
        add_kinds(body, f"{IMAGE_TYPES}*")

    return _call(address, "predict", PREDICT, body, good)


def _examples(address: Address, method: Method) -> Entry:
    """Return the operation of `method`; nothing if no signature can answer it."""
    bodies, shown = [], {}
    for signature, named in _signatures(address):
        if not examples.can_answer(signature, method):
            continue

        bodies.append(schemas.examples_body(signature, named=named))
        example = examples.classify_example(signature, method, named=named)
        if example is not None:
            shown[signature.name] = example

    if not bodies:
        return {}

    body = request_body(_any_of(bodies), shown)
    results = {"type": "array", "items": {}}
    good = answer(
        "A result for each example.",
        {"type": "object", "properties": {"results": results}, "required": ["results"]},
    )
    return _call(address, str(method), EXAMPLES, body, good)


def _infer(address: Address, signature: Signature) -> Entry:
    example = examples.infer_example(signature)
    shown = {} if example is None else {signature.name: example}
    body = request_body(schemas.infer_body(signature), shown)
    good = answer("The model's outputs.", schema("InferAnswer"))
    add_kinds(body, OCTETS)
    add_kinds(good, OCTETS)
    return _call(address, "infer", INFER, body, good)


def _call(address: Address, verb: str, text: str, body: Entry, good: Entry) -> Entry:
    """Return the operation of a call that runs the model."""
    without = "examples" not in body["content"][JSON]
    good["headers"] = headers("X-Model-Version", "Server-Timing")
    return operation(
        address.status.id.name,
        f"{verb} {address.place}",
        f"{verb.capitalize()} with {address.place}",
        {200: good, 202: response("Accepted")},
        ERRORS,
        description=f"{text} {NO_EXAMPLE}" if without else text,
        parameters=list(LATER),
        requestBody=body,
    )


def _signatures(address: Address) -> Iterator[tuple[Signature, bool]]:
    """Yield the signatures, the default first, and whether a body must name them."""
    found = address.signatures
    default = address.status.default_signature
    for name in sorted(found, key=lambda name: (name != default, name)):
        yield found[name], name != default


def _takes_images(address: Address) -> bool:
    signature = address.default
    inputs = signature.inputs.values() if signature else ()
    return any(layout_of(spec) is not None for spec in inputs if spec.required)


def _any_of(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
