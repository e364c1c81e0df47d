"""JSON Schemas of a signature's requests and answers, from dtypes and shapes. Pure."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

from inference import MAX_SEED, by_whole, layout_of
from service.codecs.json.samples import in_rows, required_specs
from service.codecs.tfserving.examples import FLOATS
from service.codecs.tfserving.request import MAX_OUTPUTS, MAX_SAMPLES
from service.codecs.v2.datatypes import BYTES, shown_datatype
from service.codecs.v2.metadata import shown_shape
from service.openapi.operations import schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference import Shape, Signature, TensorSpec

    Schema = dict[str, Any]

CHOSEN: Mapping[str, str] = {
    "description": "Other outputs, where the request chooses them."
}
NON_FINITE = (
    "NaN and Infinity are written as such, which strict JSON lacks, as TensorFlow"
    " Serving does."
)


def tensor_schema(dtype: str, shape: Shape) -> Schema:
    """Return the schema of a tensor as nested lists."""
    if shape is None:
        return {"description": f"{dtype}, of any shape"}

    return reduce(_list_of, reversed(shape), leaf_schema(dtype))


def leaf_schema(dtype: str) -> Schema:
    if dtype == "string":
        return {"anyOf": [{"type": "string"}, schema("Base64")]}

    if dtype == "bool":
        return {"type": "boolean"}

    if dtype in FLOATS:
        return {"type": "number", "description": dtype}

    bits = dtype.removeprefix("u").removeprefix("int")
    if dtype.startswith(("int", "uint")) and bits.isdecimal():
        return _integer(dtype, int(bits))

    return {"description": dtype}


def predict_body(signature: Signature, *, named: bool) -> Schema:
    """Return the schema of a `:predict` body; `named` if it must name the signature."""
    specs = list(signature.inputs.values())
    required = signature.required
    whole = {spec.name: _input(spec, spec.shape) for spec in specs}
    forms = {"inputs": _tensors(whole, required)}
    if in_rows(signature, required_specs(signature)):
        # An optional input may have no rows: it goes with whole tensors only.
        row = {
            spec.name: _input(spec, spec.shape[1:])
            for spec in specs
            if spec.shape and spec.shape[0] is None
        }
        rows = {"type": "array", "minItems": 1, "items": _tensors(row, required)}
        forms = {"instances": rows, **forms}

    keys = {
        "signature_name": {"type": "string", "const": signature.name},
        **_options(signature),
    }
    also = ["signature_name"] if named else []
    return {
        "title": signature.name,
        "anyOf": [
            {
                "title": form,
                "type": "object",
                "properties": {form: values, **keys},
                "required": [form, *also],
                "additionalProperties": False,
            }
            for form, values in forms.items()
        ],
    }


def predict_answer(signature: Signature) -> Schema:
    """Return the schema of an answer: `predictions` to rows, else `outputs`."""
    by_name = by_whole({name: signature.outputs[name] for name in signature.usual})
    wholes = {name: _output(parts) for name, parts in by_name.items()}
    rows = {name: _output(parts, row=True) for name, parts in by_name.items()}
    many = {"type": "array", "items": {"anyOf": [_alone_or_named(rows), CHOSEN]}}
    return {
        "title": signature.name,
        "type": "object",
        "properties": {
            "predictions": many,
            "outputs": {"anyOf": [_alone_or_named(wholes), CHOSEN]},
        },
    }


def examples_body(signature: Signature, *, named: bool) -> Schema:
    """Return the schema of a `:classify` or `:regress` body; see `predict_body`."""
    known = {spec.name: _feature(spec) for spec in signature.inputs.values()}
    features = {"type": "object", "properties": known}
    return {
        "title": signature.name,
        "type": "object",
        "properties": {
            "examples": {"type": "array", "minItems": 1, "items": features},
            "context": features,
            "signature_name": {"type": "string", "const": signature.name},
        },
        "required": ["examples", *(["signature_name"] if named else [])],
        "additionalProperties": False,
    }


def infer_body(signature: Signature) -> Schema:
    """Return the schema of an inference request of the Open Inference Protocol."""
    output = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "enum": list(signature.outputs)},
            "parameters": schema("Parameters"),
        },
        "required": ["name"],
    }
    inputs: Schema = {
        "type": "array",
        "minItems": len(signature.required),
        "maxItems": len(signature.inputs),
    }
    if signature.inputs:
        specs = signature.inputs.values()
        inputs["items"] = {"anyOf": [_v2_input(spec) for spec in specs]}

    return {
        "title": signature.name,
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "parameters": schema("Parameters"),
            "inputs": inputs,
            "outputs": {"type": "array", "items": output},
        },
        "required": ["inputs"],
    }


def _list_of(items: Schema, size: int | None) -> Schema:
    bounds = {} if size is None else {"minItems": size, "maxItems": size}
    return {"type": "array", "items": items, **bounds}


def _integer(dtype: str, bits: int) -> Schema:
    signed = not dtype.startswith("u")
    most = 1 << (bits - signed)
    return {
        "type": "integer",
        "minimum": -most if signed else 0,
        "maximum": most - 1,
        "description": dtype,
    }


def _input(spec: TensorSpec, shape: Shape) -> Schema:
    """Return the schema of an input; `shape` is its own, or that of one row."""
    values = tensor_schema(spec.dtype, shape)
    if layout_of(spec) is None or shape is None:
        return values

    # An encoded image stands in the place of its pixels.
    row = len(shape) < len(spec.shape or ())
    images = schema("Base64") if row else _list_of(schema("Base64"), shape[0])
    return {"anyOf": [values, images]}


def _tensors(schemas: Schema, required: list[str]) -> Schema:
    """Return the schema of tensors by name, or of the only one needed alone."""
    by_name = {
        "type": "object",
        "properties": schemas,
        "required": required,
        "additionalProperties": False,
    }
    if len(required) != 1:
        return by_name

    return {"anyOf": [schemas[required[0]], by_name]}


def _feature(spec: TensorSpec) -> Schema:
    leaf = leaf_schema(spec.dtype)
    return {"anyOf": [leaf, {"type": "array", "items": leaf}]}


def _output(parts: list[TensorSpec], *, row: bool = False) -> Schema:
    # Ragged and sparse tensors have forms of their own.
    if len(parts) > 1 or parts[0].shape is None:
        return {}

    (spec,) = parts
    shape = spec.shape
    return tensor_schema(spec.dtype, shape[1:] if row and shape else shape)


def _alone_or_named(schemas: Schema) -> Schema:
    if len(schemas) == 1:
        (alone,) = schemas.values()
        return dict(alone)

    return {"type": "object", "properties": schemas}


def _options(signature: Signature) -> Schema:
    """Return the schemas of what may stand beside the values."""
    names = list(dict.fromkeys((*signature.outputs, *by_whole(signature.outputs))))
    found: Schema = {
        "outputs": {
            "type": "array",
            "items": {"type": "string", "enum": names},
            "minItems": 1,
            "maxItems": MAX_OUTPUTS,
        }
    }
    if any(spec.dtype in FLOATS for spec in signature.outputs.values()):
        found["top_k"] = _whole(1, 2**31 - 1)

    if signature.seed is not None:
        found |= {
            "training": {"type": "boolean"},
            "seed": _whole(0, MAX_SEED - 1),
            "samples": _whole(1, MAX_SAMPLES),
            "all_samples": {"type": "boolean"},
        }

    return found


def _whole(least: int, most: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


def _v2_input(spec: TensorSpec) -> Schema:
    datatype = shown_datatype(spec.dtype)
    images = layout_of(spec) is not None
    sizes: Schema = {"type": "array", "items": {"type": "integer", "minimum": 0}}
    if spec.shape is not None and not images:
        sizes |= {"minItems": len(spec.shape), "maxItems": len(spec.shape)}

    return {
        "title": spec.name,
        "type": "object",
        "properties": {
            "name": {"type": "string", "const": spec.name},
            "datatype": {
                "type": "string",
                "enum": [datatype, BYTES] if images else [datatype],
            },
            "shape": {**sizes, "description": f"as {shown_shape(spec.shape)}"},
            "data": {
                "type": "array",
                "items": {},
                "description": "flat, row by row, or nested",
            },
            "parameters": schema("Parameters"),
        },
        "required": ["name", "datatype", "shape"],
    }
