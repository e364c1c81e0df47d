"""Requests as bytes made beforehand, and checks of their answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inference.types import Array

Form: TypeAlias = Literal["instances", "tensor", "bare"]
"""`instances` is TensorFlow Serving's JSON, `tensor` the Open Inference Protocol's;
`bare` takes the first and answers the numbers alone."""

DECIMALS = 6
TENSOR_NAME = "INPUT"
TOLERANCE = 1e-3
"""Relative or absolute. Rewritten graphs differ from Keras by some 1e-6."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """A client's hanging up `seconds` after `sent` bytes of its request."""

    sent: int
    seconds: float


class Manner(Enum):
    """The way in which a client sends a request that it waits for.

    At once; in three parts with pauses; at once, closing its sending side; or as three
    copies one behind the other, without waiting in between.
    """

    PLAIN = "plain"
    SLOW = "slow"
    HALF_CLOSED = "half-closed"
    PIPELINED = "pipelined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request, and the check of a 200's body.

    `headers` are further lines of the head, each with its end. `allowed` are the
    statuses that are no failure. One with a `leave` isn't waited for.
    """

    name: str
    path: str
    right: Callable[[bytes], bool]
    method: str = "POST"
    body: bytes = b""
    headers: str = ""
    media: str = "application/json"
    allowed: frozenset[int] = frozenset({200})
    leave: Leave | None = None
    manner: Manner = Manner.PLAIN
    request: bytes = field(init=False)

    def __post_init__(self) -> None:
        head = f"{self.method} {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"

        if self.method == "POST":
            length = f"Content-Length: {len(self.body)}\r\n"
            head += f"Content-Type: {self.media}\r\n{length}"

        request = f"{head}{self.headers}\r\n".encode() + self.body
        object.__setattr__(self, "request", request)


def get(path: str, text: bytes = b"") -> Exchange:
    """Make a `GET` whose answer must have `text` in it."""
    return Exchange(name="GET", method="GET", path=path, right=partial(_holds, text))


def predictions(
    rows: Array,
    answers: Array,
    path: str,
    *,
    size: int = 1,
    form: Form = "instances",
    tolerance: float = TOLERANCE,
) -> list[Exchange]:
    """Make requests to `path` of `size` rows each, with (rows, outputs) `answers`.

    Rows that fill no request are left out.
    """
    return [
        Exchange(
            name=path,
            path=path,
            body=_BODIES[form](rows[at : at + size]),
            right=partial(_is_answer, answers[at : at + size], form, tolerance),
        )
        for at in range(0, len(rows) - size + 1, size)
    ]


def predict_path(model: str) -> str:
    return f"/v1/models/{model}:predict"


def rounded(rows: Array) -> Array:
    """Return the float32 values that the clients' decimals stand for."""
    return _decimals(rows).astype(np.float32)


def _holds(text: bytes, body: bytes) -> bool:
    return text in body


def _is_answer(wanted: Array, form: Form, tolerance: float, body: bytes) -> bool:
    try:
        values = np.asarray(_ANSWERS[form](orjson.loads(body)), np.float64)
        given = values.reshape(wanted.shape)
    except (LookupError, TypeError, ValueError):
        return False

    margin = tolerance * np.maximum(1.0, np.abs(wanted))
    return bool(np.all(np.abs(given - wanted) <= margin))


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
    # The shortest decimals, which float32 widened to float64 would lose.
    return np.round(rows.astype(np.float64), DECIMALS)


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
READY = get("/readyz")
