"""A version's report: signatures, examples, how it was compiled. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from inference import by_whole, whole_shape
from service.openapi.examples import predict_example

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference import ModelReport, ModelStatus, Signature, TensorSpec

MAX_CLASSES = 5000
"""Most names of classes that are told: more are not read by a person."""


def report_document(status: ModelStatus, report: ModelReport | None) -> dict[str, Any]:
    """Return what a person may want to know of a version; `report` if it compiled."""
    told = None
    if report is not None:
        told = asdict(report) | {"classes": report.classes[:MAX_CLASSES]}
        told["layers"] = [
            {"name": name, "shape": shape} for name, shape in report.layers.items()
        ]

    return {
        "name": status.id.name,
        "version": status.id.version,
        "state": str(status.state),
        "stage": status.stage,
        "error": status.error,
        "update_error": status.update_error,
        "format": status.format,
        "writer": status.writer,
        "integrity": status.integrity,
        "labels": list(status.labels),
        "pinned": status.pinned,
        "concurrency": status.concurrency,
        "load_seconds": status.load_seconds,
        "memory_bytes": status.memory_bytes,
        "default_signature": status.default_signature,
        "signatures": [
            _signature(each, named=each.name != status.default_signature)
            for each in status.signatures.values()
        ],
        "left_out": dict(status.left_out),
        "report": told,
    }


def _signature(signature: Signature, *, named: bool) -> dict[str, Any]:
    return {
        "name": signature.name,
        "method": signature.method,
        "inputs": _tensors(signature.inputs, signature),
        "outputs": _tensors(signature.outputs, signature),
        "batchable": signature.batchable,
        "batchable_reason": signature.batchable_reason,
        "example": predict_example(signature, named=named),
    }


def _tensors(
    specs: Mapping[str, TensorSpec], signature: Signature
) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "dtype": parts[0].dtype,
            "shape": whole_shape(parts),
            "kind": None if parts[0].part is None else parts[0].part.kind,
            "required": parts[0].required,
            "on_request": parts[0].on_request,
        }
        for name, parts in by_whole(specs).items()
    ]
