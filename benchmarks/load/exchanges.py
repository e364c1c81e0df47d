"""Requests as bytes made beforehand, and whether a body answers one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inference.types import Array

Form: TypeAlias = Literal["instances", "tensor", "bare"]
"""`instances` is TensorFlow Serving's JSON, `tensor` the Open Inference Protocol's;
`bare` takes the first and answers the numbers alone."""

TENSOR_NAME = "INPUT"
TOLERANCE = 1e-3
"""Relative and absolute. Rewritten graphs differ from Keras by some 1e-6."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request of some rows, and what each row must give: (rows, outputs) floats."""

    request: bytes
    answer: Array
    form: Form

    def right(self, body: bytes) -> bool:
        """Whether `body` holds the answer."""
        try:
            values = np.asarray(_ANSWERS[self.form](orjson.loads(body)), np.float64)
            given = values.reshape(self.answer.shape)
        except (LookupError, TypeError, ValueError):
            return False

        return np.allclose(given, self.answer, rtol=TOLERANCE, atol=TOLERANCE)


def exchanges(
    rows: Array, answers: Array, *, size: int, form: Form, path: str
) -> list[Exchange]:
    """All `rows` in requests of `size` rows each, to `path`; answers row by row."""
    return [
        Exchange(
            request=_post(path, _BODIES[form](rows[at : at + size])),
            answer=answers[at : at + size],
            form=form,
        )
        for at in range(0, len(rows) - size + 1, size)
    ]


def _post(path: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _instances(rows: Array) -> bytes:
    return orjson.dumps({"instances": _decimals(rows).tolist()})


def _tensor(rows: Array) -> bytes:
    tensor = {
        "name": TENSOR_NAME,
        "shape": rows.shape,
        "datatype": "FP32",
        "data": _decimals(rows).ravel().tolist(),
    }
    return orjson.dumps({"inputs": [tensor]})


def _decimals(rows: Array) -> Array:
    """The shortest decimals again, which float32 widened to float64 would lose."""
    return np.round(rows.astype(np.float64), DECIMALS)


def rounded(rows: Array) -> Array:
    """The float32 that clients' decimals stand for: what a model is asked with."""
    return _decimals(rows).astype(np.float32)


DECIMALS = 6
_BODIES: dict[Form, Callable[[Array], bytes]] = {
    "instances": _instances,
    "tensor": _tensor,
    "bare": _instances,
}
_ANSWERS: dict[Form, Callable[[Any], Sequence[Any]]] = {
    "instances": lambda document: document["predictions"],
    "tensor": lambda document: document["outputs"][0]["data"],
    "bare": lambda document: document,
}
