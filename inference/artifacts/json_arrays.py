"""Exact arrays in JSON, of any dtype that a model may have."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np

from inference.dtypes import numpy_dtype

if TYPE_CHECKING:
    from inference.types import Array


def to_json(value: Array | None) -> Any:
    if value is None:
        return None

    shape = list(value.shape)

    if value.dtype == object:
        texts = [text.decode("latin-1") for text in value.reshape(-1).tolist()]
        return {"shape": shape, "texts": texts}

    content = np.ascontiguousarray(value).tobytes()
    return {"shape": shape, "base64": base64.b64encode(content).decode("ascii")}


def from_json(value: Any, dtype: str) -> Array | None:
    if value is None:
        return None

    shape = tuple(value["shape"])

    if dtype == "string":
        texts = [text.encode("latin-1") for text in value["texts"]]
        flat = np.empty(len(texts), dtype=object)
        flat[:] = texts
        return flat.reshape(shape)

    content = base64.b64decode(value["base64"])
    return np.frombuffer(content, numpy_dtype(dtype)).reshape(shape).copy()
