"""Made-up inputs that a signature may accept, to try a graph on.

Nothing says which sizes or strings a graph takes, so candidates come in an order from
the likely to the rare, and the first that the source accepts is used.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from inference.part_samples import fit_parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from inference.types import Array, Shape, Signature, TensorSpec

SIZES = (16, 1, 64, 224)
WORDS = (b"a", b"b")
UNKNOWN_RANKS = ((16,), (), None, (32, 32, 3), (28, 28, 1), (224, 224, 3))


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """What one candidate assumes of whatever a signature leaves open.

    `size` fills unknown dimensions, `trailing` the shape behind the rows where even
    the rank is unknown (`None`: a scalar), `strings` the string tensors.
    """

    size: int = SIZES[0]
    trailing: tuple[int, ...] | None = UNKNOWN_RANKS[0]
    strings: tuple[bytes, ...] = WORDS


def guesses(
    signature: Signature, texts: Sequence[tuple[bytes, ...]] = ()
) -> Iterator[Guess]:
    """The guesses worth trying for `signature`, the likely ones first.

    `texts` are sets of strings that the model is likely to take; they come first.
    """
    specs = [spec for spec in signature.inputs.values() if spec.required]
    unknown = any(spec.shape is None for spec in specs)
    open_sizes = any(None in (spec.shape or ())[1:] for spec in specs)
    has_text = any(spec.dtype == "string" for spec in specs)

    for strings in (*texts, *_common_texts()) if has_text else [WORDS]:
        for trailing in UNKNOWN_RANKS if unknown else UNKNOWN_RANKS[:1]:
            for size in SIZES if open_sizes else SIZES[:1]:
                yield Guess(size=size, trailing=trailing, strings=strings)


def sample(
    signature: Signature, guess: Guess, *, rows: int, seed: int
) -> dict[str, Array]:
    """Random inputs by name; optional ones get their defaults.

    Equal arguments give equal arrays; another `seed` gives other rows.
    """
    generator = np.random.default_rng(seed)
    made = {
        name: _tensor(spec, guess, rows, generator)
        for name, spec in signature.inputs.items()
    }
    return fit_parts(signature, made)


def numpy_dtype(name: str) -> np.dtype[Any]:
    """TensorFlow's dtype name as NumPy's dtype; strings are objects."""
    if name == "string":
        return np.dtype(object)

    return np.dtype(getattr(ml_dtypes, name, name))


def _tensor(
    spec: TensorSpec, guess: Guess, rows: int, generator: np.random.Generator
) -> Array:
    if spec.default is not None:
        return spec.default

    shape = _shape(spec.shape, guess, rows)

    if spec.dtype == "string":
        texts = np.array(guess.strings, dtype=object)
        return np.asarray(generator.choice(texts, size=shape), dtype=object)

    dtype = numpy_dtype(spec.dtype)
    return np.asarray(_numbers(dtype, shape, generator), dtype=dtype)


def _numbers(
    dtype: np.dtype[Any], shape: tuple[int, ...], generator: np.random.Generator
) -> Array:
    if dtype == np.uint8:
        return generator.integers(0, 256, size=shape)

    # Small, since integers are mostly indices into something of unknown length.
    if dtype.kind in "iub":
        return generator.integers(0, 2, size=shape)

    if dtype.kind == "c":
        return generator.standard_normal(shape) + 1j * generator.standard_normal(shape)

    return generator.standard_normal(shape)


def _shape(shape: Shape, guess: Guess, rows: int) -> tuple[int, ...]:
    if shape is None:
        return () if guess.trailing is None else (rows, *guess.trailing)

    sizes = (rows, *[guess.size] * len(shape))
    return tuple(
        size if known is None else known
        for known, size in zip(shape, sizes, strict=False)
    )


def _common_texts() -> list[tuple[bytes, ...]]:
    return [
        WORDS,
        (b"1", b"2"),
        (b"", b"\n\x00"),
        (_png(40), _png(200)),
        (b"2020-01-01", b"2021-02-03"),
    ]


def _png(grey: int) -> bytes:
    """A grey 8×8 RGB picture, for graphs that decode images."""
    rows = b"".join(b"\x00" + bytes([grey, 255 - grey, grey]) * 8 for _ in range(8))
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
