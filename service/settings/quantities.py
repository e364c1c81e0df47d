"""Durations and sizes as people write them, for pydantic's fields."""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import BeforeValidator, Field

from inference import available_memory

SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
SIZES = {
    unit: base**power
    for power, letter in enumerate("kmgt", start=1)
    for unit, base in (
        (f"{letter}ib", 1024),
        (f"{letter}i", 1024),
        (f"{letter}b", 1000),
    )
}
SIZES["b"] = 1
BINARY_LETTERS = {"k": "KiB", "m": "MiB", "g": "GiB", "t": "TiB"}

_QUANTITY = re.compile(
    r"(-?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*([a-z%]*)", re.IGNORECASE
)

SMALLEST_BUDGET = 1024**2


def seconds(value: object) -> object:
    """Return a duration in seconds; a number without a unit is one already."""
    return _duration(value, 1.0, "30s, 500ms, 5min or 1h")


def milliseconds(value: object) -> object:
    """Return a duration in milliseconds; a number without a unit is one already."""
    in_seconds = _duration(value, 0.001, "5ms, or 0.5 for half a millisecond")
    return in_seconds * 1000 if isinstance(in_seconds, float) else in_seconds


def size(value: object) -> object:
    """Return a number of bytes."""
    return read_size(value) if isinstance(value, str) else value


def read_size(text: str) -> int:
    """Return the number of bytes that a text says. Raise `ValueError`."""
    number, unit = _parts(text, "64MiB, 500MB, or a number of bytes")
    if not unit:
        return _whole(number, text)

    if unit in BINARY_LETTERS:
        raise ValueError(f"{unit!r} can mean two units; write {BINARY_LETTERS[unit]}")

    if unit not in SIZES:
        raise ValueError("is not a size; write 64MiB, 500MB, or a number of bytes")

    return int(number * SIZES[unit])


def memory(value: object) -> object:
    """Return a number of bytes, or `None` for auto; a percentage is of all memory."""
    if value == "auto":
        return None

    if isinstance(value, str) and value.strip().endswith("%"):
        number, _ = _parts(value, "60%")
        if not 0 < number <= 100:
            raise ValueError("must be more than 0% and at most 100%")

        return int(available_memory() * number / 100)

    nbytes = size(value)
    if isinstance(nbytes, int) and nbytes < SMALLEST_BUDGET:
        raise ValueError(
            f"is {nbytes} bytes, too few for any model; write 4GiB, 500MB or 60%"
        )

    return nbytes


def _duration(value: object, plain: float, examples: str) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value

    number, unit = _parts(str(value), examples)
    if unit and unit not in SECONDS:
        raise ValueError(f"is not a duration; write {examples}")

    return number * (SECONDS[unit] if unit else plain)


def _parts(text: str, examples: str) -> tuple[float, str]:
    match = _QUANTITY.fullmatch(text.strip())
    if match is None or not math.isfinite(float(match[1])):
        raise ValueError(f"can't be read; write {examples}")

    return float(match[1]), match[2].lower()


def _whole(number: float, text: str) -> int:
    if not number.is_integer():
        raise ValueError("is no whole number of bytes")

    return int(text) if text.strip().isdecimal() else int(number)


Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0)]
SecondsOrZero = Annotated[float, BeforeValidator(seconds), Field(ge=0)]
Milliseconds = Annotated[float, BeforeValidator(milliseconds), Field(ge=0)]
Size = Annotated[int, BeforeValidator(size), Field(ge=1)]
Memory = Annotated[int | None, BeforeValidator(memory)]
