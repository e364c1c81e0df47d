"""Example bodies that a model answers, from the values that its compiler tried. Pure.

There is none where no values are known to be accepted, or where it would be long.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from inference import InvalidRequest, layout_of
from service.codecs.json.samples import (
    count_values,
    in_rows,
    one_row,
    required_specs,
    rows_or_columns,
    sample_leaf,
    sample_shape,
)
from service.codecs.tfserving.examples import (
    FLOATS,
    Method,
    output_names,
    takes_examples,
)
from service.codecs.v2.datatypes import BINARY_ONLY, DATATYPES

if TYPE_CHECKING:
    from inference import Sample, Signature, TensorSpec

MAX_VALUES = 1024
"""Most values of an example; longer ones would hide the rest of the document."""

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNoaGgAAAMEAYFL09IQAAAA"
    "AElFTkSuQmCC"
)
"""A grey PNG of one pixel, in base64; images are resized to the input's size."""


def predict_example(signature: Signature, *, named: bool) -> dict[str, Any] | None:
    """Return a `:predict` body; with the signature's name if it is to be `named`."""
    sample = signature.sample
    if sample is None:
        return None

    name = {"signature_name": signature.name} if named else {}
    if count_values(required_specs(signature), sample) <= MAX_VALUES:
        return {**name, **rows_or_columns(signature, sample)}

    return {**name, "instances": [{"b64": PIXEL}]} if _is_image(signature) else None


def classify_example(
    signature: Signature, method: Method, *, named: bool
) -> dict[str, Any] | None:
    """Return a body of one example, if its features are known to be accepted."""
    sample, specs = _short_sample(signature), required_specs(signature)
    if sample is None or takes_examples(signature, [{}]):
        return None

    outputs = [signature.outputs[name] for name in output_names(signature, method)]
    sure = all(spec.shape and None not in spec.shape[1:] for spec in outputs)
    # Flat values become a row if at most one of its dimensions is open.
    flat = all((spec.shape or ())[1:].count(None) <= 1 for spec in specs)
    if not (sure and flat and in_rows(signature, specs)):
        return None

    name = {"signature_name": signature.name} if named else {}
    return {**name, "examples": [{spec.name: _flat(spec, sample) for spec in specs}]}


def infer_example(signature: Signature) -> dict[str, Any] | None:
    """Return an inference request, if JSON can carry each tensor's datatype."""
    sample, specs = _short_sample(signature), required_specs(signature)
    outputs = [signature.outputs[name] for name in signature.usual]
    if sample is None or not all(map(_is_json, (*specs, *outputs))):
        return None

    # JSON has no form for strings that aren't UTF-8 here.
    if any(isinstance(sample_leaf(spec, sample), dict) for spec in specs):
        return None

    return {"inputs": [_v2_input(spec, sample) for spec in specs]}


def can_answer(signature: Signature, method: Method) -> bool:
    """Return whether calls of `method` can succeed, as far as shapes tell."""
    specs = required_specs(signature)
    if not (takes_examples(signature, [{}]) or in_rows(signature, specs)):
        return False

    try:
        names = output_names(signature, method)
    except InvalidRequest:
        return False

    return all(_fits(signature.outputs[name], method) for name in names)


def _fits(spec: TensorSpec, method: Method) -> bool:
    """Return whether an output may be a result of `method` for each example."""
    strings = spec.dtype == "string" and method is Method.CLASSIFY
    if spec.part is not None or not (strings or spec.dtype in FLOATS):
        return False

    if spec.shape is None:
        return True

    if method is Method.CLASSIFY:
        return len(spec.shape) == 2

    return len(spec.shape) == 1 or spec.shape[1:] in ((1,), (None,))


def _short_sample(signature: Signature) -> Sample | None:
    sample = signature.sample
    if sample is None:
        return None

    count = count_values(required_specs(signature), sample)
    return sample if count <= MAX_VALUES else None


def _is_image(signature: Signature) -> bool:
    """Return whether one image of any size is an input."""
    specs = required_specs(signature)
    layout = layout_of(specs[0]) if len(specs) == 1 else None
    # Without a size of its own, a model may not take an image of one pixel.
    sized = layout is not None and None not in (layout.height, layout.width)
    return sized and in_rows(signature, specs)


def _is_json(spec: TensorSpec) -> bool:
    datatype = DATATYPES.get(spec.dtype)
    return datatype is not None and datatype not in BINARY_ONLY


def _v2_input(spec: TensorSpec, sample: Sample) -> dict[str, Any]:
    data = _flat(spec, sample)
    shape = list(sample_shape(spec, sample))
    return {
        "name": spec.name,
        "datatype": DATATYPES[spec.dtype],
        "shape": shape if one_row(spec) is None else [len(data)],
        "data": data,
    }


def _flat(spec: TensorSpec, sample: Sample) -> list[Any]:
    known = one_row(spec)
    if known is not None:
        return known

    return [sample_leaf(spec, sample)] * math.prod(sample_shape(spec, sample))
