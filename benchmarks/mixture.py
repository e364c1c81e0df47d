"""The requests of the soak: good and bad ones, impatient clients, and such as leave."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from benchmarks.client import Leave, get, post

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.client import Exchange
    from benchmarks.references import Reference

TOLERANCE = 1e-5
SIZE = 4096
"""So many requests there are, before they begin again."""

SHARES = {"predict": 75, "get": 6, "bad": 6, "deadline": 6, "leave": 7}
"""Of a hundred requests."""

LEAST_WAIT, MOST_WAIT = 0.0005, 0.05
"""Seconds that an impatient client gives a request, or waits before it leaves."""

BAD = (
    b'{"instances": [[1.0, 2.0], [3.0]]}',
    b'{"instances": [["a"]]}',
    b'{"instances": 1}',
    b'{"instances": [[1.0, 2.0]]}',
    b'{"rows": [[1.0]]}',
    b'{"instances": [[',
    b"",
)


def mixture(expected: dict[str, list[Reference]], seed: int = 7) -> list[Exchange]:
    """`SIZE` requests in an order that a seed gives; answers by model name."""
    random = Random(seed)
    predictions = [
        _prediction(name, reference)
        for name, references in expected.items()
        for reference in references
    ]
    makers: dict[str, Callable[[], Exchange]] = {
        "predict": lambda: random.choice(predictions),
        "get": partial(random.choice, list(_gets(list(expected)))),
        "bad": lambda: _bad(random, list(expected)),
        "deadline": lambda: _impatient(random, random.choice(predictions)),
        "leave": lambda: _leaving(random, random.choice(predictions)),
    }
    kinds = random.choices(list(SHARES), list(SHARES.values()), k=SIZE)
    return [makers[kind]() for kind in kinds]


def _prediction(name: str, reference: Reference) -> Exchange:
    rows, wanted = reference
    body = json.dumps({"instances": rows}).encode()
    right = partial(_is_prediction, wanted)
    return post(f"{name} predict", _path(name), body, right)


def _gets(names: list[str]) -> Iterator[Exchange]:
    pages = [("/livez", b""), ("/v1/models", b'"')]
    pages += [(f"/v1/models/{name}", b"AVAILABLE") for name in names]
    pages += [(f"/v1/models/{name}/metadata", name.encode()) for name in names]

    for path, text in pages:
        yield get("GET", path, partial(_holds, text))


def _bad(random: Random, names: list[str]) -> Exchange:
    path = _path(random.choice(names))
    exchange = post("bad request", path, random.choice(BAD), _holds_nothing)
    return replace(exchange, allowed=frozenset({400}))


def _impatient(random: Random, prediction: Exchange) -> Exchange:
    line, rest = prediction.request.split(b"\r\n", 1)
    request = b"%s\r\nPrefer: wait=%.4f\r\n%s" % (line, _wait(random), rest)
    return replace(
        prediction,
        name="with a deadline",
        request=request,
        # 429: told at once that it could not run in its time.
        allowed=frozenset({200, 429, 504}),
    )


def _leaving(random: Random, prediction: Exchange) -> Exchange:
    """Half of them hang up while they wait, half before their request is sent."""
    size = len(prediction.request)
    sent = random.choice((size, random.randrange(1, size)))
    leave = Leave(sent=sent, seconds=_wait(random) - LEAST_WAIT)
    return replace(prediction, name="left", leave=leave)


def _wait(random: Random) -> float:
    """Short ones as often as long ones."""
    return math.exp(random.uniform(math.log(LEAST_WAIT), math.log(MOST_WAIT)))


def _path(name: str) -> str:
    return f"/v1/models/{name}:predict"


def _is_prediction(wanted: list[float], body: bytes) -> bool:
    rows = json.loads(body)["predictions"]
    return len(rows) == len(wanted) and all(
        math.isclose(row[0], value, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        for row, value in zip(rows, wanted, strict=True)
    )


def _holds(text: bytes, body: bytes) -> bool:
    return text in body


def _holds_nothing(body: bytes) -> bool:
    """For a request that no answer is right to."""
    return False
