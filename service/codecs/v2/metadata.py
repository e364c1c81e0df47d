"""The documents of the server and of a model: metadata and configuration. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from inference import ModelState
from service.codecs.v2.datatypes import BYTES, shown_datatype

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from inference import Batching, ModelStatus, Shape, Signature, TensorSpec

EXTENSIONS = (
    *("classification", "model_repository", "model_configuration"),
    *("binary_tensor_data", "parameters", "statistics"),
)
"""The extensions of the protocol that are served whole, by Triton's names."""

PLATFORMS: Mapping[str, str] = {
    "frozen graph": "tensorflow_graphdef",
    "SavedModel": "tensorflow_savedmodel",
}
"""Platforms of the specification by a model's format; others are named like it."""

VARIABLE = -1
"""A variable dimension; alone it also stands for an unknown rank."""


def server_document(name: str, version: str) -> dict[str, Any]:
    return {"name": name, "version": version, "extensions": list(EXTENSIONS)}


def model_document(
    status: ModelStatus, versions: Iterable[ModelStatus]
) -> dict[str, Any]:
    """Return a version's metadata: its default signature, and the ready `versions`.

    The parts of ragged and sparse tensors are tensors of their own.
    """
    signature = default_signature(status)
    return {
        "name": status.id.name,
        "versions": [
            str(each.id.version)
            for each in versions
            if each.state is ModelState.AVAILABLE
        ],
        "platform": platform_of(status),
        "inputs": _tensors(() if signature is None else signature.inputs.values()),
        "outputs": _tensors(_usual(signature)),
    }


def config_document(status: ModelStatus, batching: Batching | None) -> dict[str, Any]:
    """Return a version's configuration, as Triton's `ModelConfig` has it in JSON.

    `batching` is how rows of the default signature are joined, if they are.
    """
    signature = default_signature(status)
    rows = batching.max_rows if batching is not None and _in_rows(signature) else 0
    document: dict[str, Any] = {
        "name": status.id.name,
        "platform": platform_of(status),
        "backend": "tensorflow",
        "version_policy": {"specific": {"versions": [status.id.version]}},
        "max_batch_size": rows,
        "input": [
            {**_config(spec, rows), "optional": not spec.required}
            for spec in (signature.inputs.values() if signature else ())
        ],
        "output": [_config(spec, rows) for spec in _usual(signature)],
        "instance_group": [{"kind": "KIND_CPU", "count": status.concurrency or 1}],
    }
    if batching is not None and rows:
        delay = round(batching.max_delay_seconds * 1e6)
        document["dynamic_batching"] = {"max_queue_delay_microseconds": delay}

    return document


def default_signature(status: ModelStatus) -> Signature | None:
    return status.signatures.get(status.default_signature or "")


def platform_of(status: ModelStatus) -> str:
    """Return the platform, of the form `<project>_<format>`."""
    kind = status.format or ""
    return PLATFORMS.get(kind) or re.sub("[^a-z0-9]+", "_", kind.lower())


def shown_shape(shape: Shape) -> list[int]:
    """Return a shape with -1 for variable dimensions, and for an unknown rank."""
    if shape is None:
        return [VARIABLE]

    return [VARIABLE if dim is None else dim for dim in shape]


def _tensors(specs: Iterable[TensorSpec]) -> list[dict[str, Any]]:
    return [
        {
            "name": spec.name,
            "datatype": shown_datatype(spec.dtype),
            "shape": shown_shape(spec.shape),
        }
        for spec in specs
    ]


def _usual(signature: Signature | None) -> Sequence[TensorSpec]:
    if signature is None:
        return ()

    return [signature.outputs[name] for name in signature.usual]


def _config(spec: TensorSpec, rows: int) -> dict[str, Any]:
    datatype = shown_datatype(spec.dtype)
    shape = shown_shape(spec.shape)
    return {
        "name": spec.name,
        "data_type": f"TYPE_{'STRING' if datatype == BYTES else datatype}",
        "dims": shape[1:] if rows else shape,
    }


def _in_rows(signature: Signature | None) -> bool:
    """Return whether each tensor's first dimension counts the rows."""
    if signature is None or not signature.batchable:
        return False

    specs = [*signature.inputs.values(), *_usual(signature)]
    return all(spec.shape and spec.shape[0] is None for spec in specs)
