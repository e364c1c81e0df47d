"""Random values for one input, by its dtype and hints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inference.dtypes import numpy_dtype
from inference.inputs.encoded_media import picture, png

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inference.inputs.hints import Hint, Texts
    from inference.types import Array, TensorSpec

    Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]

WORDS = (b"a", b"b")
COMMON_TEXTS: tuple[Texts, ...] = (
    WORDS,
    (b"1", b"2"),
    (b"", b"\n\x00"),
    (png(picture(64, 0)), png(picture(64, 1))),
    (b"2020-01-01", b"2021-02-03"),
)
_RANGES = ((0.0, 1.0), (1.0, 2.0), (0.0, 255.0))
_MOST_COUNT = 2**31


def kind_of(spec: TensorSpec) -> str:
    """Return one of `texts`, `integers` and `floats`."""
    if spec.dtype == "string":
        return "texts"

    return "integers" if numpy_dtype(spec.dtype).kind in "iub" else "floats"


def ways(
    spec: TensorSpec,
    hint: Hint,
    *,
    texts: Sequence[Texts] = (),
    longest: int | None = None,
) -> list[Draw]:
    """Return the ways to draw values for an input, likely ones first.

    `texts` are sets of strings to try first. `longest` is for inputs that may hold the
    lengths of rows.
    """
    if spec.dtype == "string":
        return [_of_texts(each) for each in (*hint.texts, *texts, *COMMON_TEXTS)]

    dtype = numpy_dtype(spec.dtype)

    if dtype.kind in "iub":
        return _integer_ways(dtype, hint, longest)

    # Keras 2 takes ids as floats, unless told otherwise.
    ids = [] if hint.count is None else [_below(0, hint.count)]
    usual = _complex if dtype.kind == "c" else _normal
    return [*ids, usual, *map(_between, _ranges(hint))]


def _integer_ways(dtype: np.dtype[Any], hint: Hint, longest: int | None) -> list[Draw]:
    # Small ranges: integers are mostly indices into something of unknown length.
    if dtype.kind == "b":
        return [_below(0, 2)]

    most = min(_MOST_COUNT, int(np.iinfo(dtype).max) + 1)
    bounds = [(0, 256)] if dtype == np.uint8 else []

    if hint.count is not None:
        bounds.insert(0, (0, hint.count))

    if longest is not None:
        bounds.insert(0, (1, longest + 1))

    bounds.append((0, 2))

    if hint.low is not None or hint.high is not None:
        bounds.append(_whole(*_ends(hint)))

    bounds.append((1, 4))
    kept = [(low, min(high, most)) for low, high in bounds]
    return [_below(low, high) for low, high in dict.fromkeys(kept) if low < high]


def _ranges(hint: Hint) -> list[tuple[float, float]]:
    named = hint.low is not None or hint.high is not None
    return [*([_ends(hint)] if named else []), *_RANGES]


def _ends(hint: Hint) -> tuple[float, float]:
    """Return the range; a width of 2 replaces an open end."""
    low = (hint.high or 0) - 2 if hint.low is None else hint.low
    return low, low + 2 if hint.high is None else hint.high


def _whole(low: float, high: float) -> tuple[int, int]:
    return int(np.ceil(low)), int(np.floor(high)) + 1


def _of_texts(texts: Texts) -> Draw:
    made = np.empty(len(texts), dtype=object)
    made[:] = texts

    def draw(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
        places = generator.integers(0, len(made), size=shape)

        if places.ndim and places.size:
            # Consecutive rows differ, at least in their first value.
            start, count = places.flat[0], len(places)
            places.reshape(count, -1)[:, 0] = (start + np.arange(count)) % len(made)

        return np.asarray(made[places], dtype=object)

    return draw


def _below(low: int, high: int) -> Draw:
    return lambda generator, shape: np.asarray(
        generator.integers(low, high, size=shape)
    )


def _between(ends: tuple[float, float]) -> Draw:
    low, high = ends
    return lambda generator, shape: np.asarray(generator.uniform(low, high, shape))


def _normal(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.asarray(generator.standard_normal(shape))


def _complex(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    real, imaginary = generator.standard_normal((2, *shape))
    return np.asarray(real + 1j * imaginary)
