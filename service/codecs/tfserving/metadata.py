"""A model's signatures as TensorFlow Serving's metadata document. Pure."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from inference import by_whole, whole_shape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference import Array, ModelStatus, Shape, Signature, TensorSpec

METHODS = "tensorflow/serving/"

# `DataType` of tensorflow/core/framework/types.proto where it isn't the name in upper
# case.
_DTYPES: Mapping[str, str] = {
    "float16": "DT_HALF",
    "float32": "DT_FLOAT",
    "float64": "DT_DOUBLE",
}

# The field with the values of a TensorProto (tensorflow/core/framework/tensor.proto).
_FIELDS: Mapping[str, str] = {
    "float32": "float_val",
    "float64": "double_val",
    "int64": "int64_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "bool": "bool_val",
    "string": "string_val",
}


def metadata_document(status: ModelStatus) -> dict[str, Any]:
    """Return `GetModelMetadataResponse` as JSON, with the .proto files' names."""
    signatures = {name: _signature(item) for name, item in status.signatures.items()}
    return {
        "model_spec": {
            "name": status.id.name,
            "signature_name": "",
            "version": str(status.id.version),
        },
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


def _signature(signature: Signature) -> dict[str, Any]:
    return {
        "inputs": _tensors(signature.inputs),
        # What an answer holds: clients may ask for further outputs by name.
        "outputs": _outputs({k: signature.outputs[k] for k in signature.usual}),
        "method_name": METHODS + signature.method,
        "defaults": {
            name: _tensor_proto(spec.dtype, spec.default)
            for name, spec in signature.inputs.items()
            if spec.default is not None
        },
    }


def _tensors(specs: Mapping[str, TensorSpec]) -> dict[str, Any]:
    return {name: _tensor_info(spec) for name, spec in specs.items()}


def _outputs(specs: Mapping[str, TensorSpec]) -> dict[str, Any]:
    wholes = by_whole(specs)
    return {name: _output_info(parts) for name, parts in wholes.items()}


def _output_info(parts: list[TensorSpec]) -> dict[str, Any]:
    """Return a TensorInfo, with the parts in TensorFlow's encoding if there are any."""
    by_role = {each.part.role: each for each in parts if each.part}
    if not by_role:
        return _tensor_info(parts[0])

    return {
        "dtype": _dtype(by_role["values"].dtype),
        "tensor_shape": _shape(whole_shape(parts)),
        **(_coo_sparse(by_role) if "indices" in by_role else _ragged(parts)),
    }


def _coo_sparse(parts: Mapping[str, TensorSpec]) -> dict[str, Any]:
    names = {
        "values_tensor_name": parts["values"].tensor,
        "indices_tensor_name": parts["indices"].tensor,
        "dense_shape_tensor_name": parts["shape"].tensor,
    }
    return {"coo_sparse": names}


def _ragged(parts: list[TensorSpec]) -> dict[str, Any]:
    kind = {"type_spec_class": "RAGGED_TENSOR_SPEC", "num_flat_components": len(parts)}
    components = [_tensor_info(each) for each in parts]
    return {"composite_tensor": {"type_spec": kind, "components": components}}


def _tensor_info(spec: TensorSpec) -> dict[str, Any]:
    return {
        "dtype": _dtype(spec.dtype),
        "tensor_shape": _shape(spec.shape),
        "name": spec.tensor,
    }


def _shape(shape: Shape) -> dict[str, Any]:
    if shape is None:
        return {"dim": [], "unknown_rank": True}

    sizes = [str(-1 if dim is None else dim) for dim in shape]
    dims = [{"size": size, "name": ""} for size in sizes]
    return {"dim": dims, "unknown_rank": False}


def _tensor_proto(dtype: str, array: Array) -> dict[str, Any]:
    field = _FIELDS.get(dtype, "int_val")
    return {
        "dtype": _dtype(dtype),
        "tensor_shape": _shape(array.shape),
        field: [_value(field, item) for item in array.ravel().tolist()],
    }


def _value(field: str, item: Any) -> Any:
    # Protobuf's JSON: 64-bit integers are strings, bytes are base64.
    if field in ("int64_val", "uint64_val"):
        return str(item)

    if field == "string_val":
        return base64.b64encode(item).decode()

    return item


def _dtype(name: str) -> str:
    return _DTYPES.get(name, f"DT_{name.upper()}")
