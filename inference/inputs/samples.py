"""Generated inputs that a signature may accept, to try a graph on.

No signature states all sizes and values that its graph takes, so candidates come in
order of likelihood, and the first that the source accepts is used.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from operator import mul
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from inference.dtypes import numpy_dtype
from inference.inputs.encoded_media import picture, png
from inference.inputs.hints import NO_HINTS
from inference.inputs.part_samples import fit_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from inference.inputs.hints import Hint, Hints, Texts
    from inference.types import Array, Shape, Signature, TensorSpec

    Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]

SIZES = (16, 1, 64, 224, 1024, 4096, 12_288, 48_000)
MOST_VALUES = 2**22
"""Most values of one generated input, at unusual sizes."""

MOST_CANDIDATES = 96
_RARITY = {"floats": 2, "rows": 4}
"""The rarity of assumptions other than the first, where it is more than a size's."""

UNKNOWN_RANKS = ((16,), (), None, (32, 32, 3), (28, 28, 1), (224, 224, 3))
_USUAL = 224

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


class Candidate(Protocol):
    """Inputs that a signature may take; `rows` is the number tried first."""

    @property
    def rows(self) -> int: ...

    def draw(self, rows: int, seed: int) -> dict[str, Array]:
        """Return inputs by name, optional ones with their defaults.

        Equal arguments give equal arrays; another `seed` gives other rows.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """One candidate's assumptions about what a signature leaves open.

    `size` fills unknown dimensions; `trailing` is the shape after the rows if the rank
    is unknown (`None`: a scalar). `texts`, `integers` and `floats` choose among an
    input's ways to draw values.
    """

    size: int = SIZES[0]
    trailing: tuple[int, ...] | None = UNKNOWN_RANKS[0]
    texts: int = 0
    integers: int = 0
    floats: int = 0
    rows: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedSample:
    """Random inputs by a guess; the strings `texts` are tried first."""

    signature: Signature
    guess: Guess = Guess()
    hints: Hints = NO_HINTS
    texts: Sequence[Texts] = ()

    @property
    def rows(self) -> int:
        return self.guess.rows

    def draw(self, rows: int, seed: int) -> dict[str, Array]:
        """See `Candidate`."""
        generator = np.random.default_rng(seed)
        made = {
            name: self._tensor(spec, rows, generator)
            for name, spec in self.signature.inputs.items()
        }
        return fit_parts(self.signature, made)

    def ways(self, spec: TensorSpec) -> list[Draw]:
        hint = self.hints.of(spec.name)
        return _ways(spec, hint, texts=self.texts, longest=self._longest(spec))

    def _tensor(
        self, spec: TensorSpec, rows: int, generator: np.random.Generator
    ) -> Array:
        if spec.default is not None:
            return spec.default

        shape = _shape(spec.shape, self.guess, rows)
        drawn = self.ways(spec)
        way: int = getattr(self.guess, _kind_of(spec))
        array = drawn[min(way, len(drawn) - 1)](generator, shape)
        return array.astype(numpy_dtype(spec.dtype))

    def _longest(self, spec: TensorSpec) -> int | None:
        """Return the length of other inputs' rows, if this one may hold lengths."""
        if spec.shape not in ((None,), (None, 1)):
            return None

        others = [each for each in self.signature.inputs.values() if each != spec]
        is_open = any(None in (each.shape or ())[1:] for each in others)
        return self.guess.size if is_open else None


def candidates(
    signature: Signature, texts: Sequence[Texts] = (), hints: Hints = NO_HINTS
) -> Iterator[GeneratedSample]:
    """Yield at most `MOST_CANDIDATES` candidates for `signature`, likely ones first.

    `texts` are sets of strings that the model is likely to take. One rare assumption
    comes before two.
    """
    first = GeneratedSample(signature=signature, hints=hints, texts=texts)
    specs = [spec for spec in signature.inputs.values() if spec.required]
    axes: dict[str, Sequence[Any]] = {
        "size": _sizes(specs, hints),
        "trailing": UNKNOWN_RANKS if _any_rank(specs) else UNKNOWN_RANKS[:1],
        "rows": (2, 1) if any(_leads_open(spec) for spec in specs) else (2,),
    }

    for kind in ("texts", "integers", "floats"):
        counts = [len(first.ways(spec)) for spec in specs if _kind_of(spec) == kind]
        axes[kind] = range(max(counts, default=1))

    for chosen in _by_rarity(axes):
        guess = Guess(**chosen)
        yield GeneratedSample(
            signature=signature, guess=guess, hints=hints, texts=texts
        )


def _by_rarity(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """List all combinations by their distance from the first of each axis."""
    rarity = [_RARITY.get(name, 1) for name in axes]
    places = itertools.product(*(range(len(axis)) for axis in axes.values()))
    nearest = sorted(places, key=lambda place: sum(map(mul, place, rarity)))
    return [
        {name: axis[at] for (name, axis), at in zip(axes.items(), place, strict=True)}
        for place in nearest[:MOST_CANDIDATES]
    ]


def _sizes(specs: Sequence[TensorSpec], hints: Hints) -> list[int]:
    """Return the sizes that don't make images with two open sides too large."""
    open_ = [spec.shape for spec in specs if None in (spec.shape or ())[1:]]

    if not open_:
        return [SIZES[0]]

    return [
        size
        for size in SIZES
        if size <= _USUAL
        or (
            size <= hints.largest
            and all(_values(shape, size) <= MOST_VALUES for shape in open_)
        )
    ]


def _values(shape: Shape, size: int) -> int:
    return math.prod(size if each is None else each for each in (shape or ())[1:])


def _any_rank(specs: Sequence[TensorSpec]) -> bool:
    return any(spec.shape is None for spec in specs)


def _leads_open(spec: TensorSpec) -> bool:
    return spec.shape is None or spec.shape[:1] == (None,)


def _shape(shape: Shape, guess: Guess, rows: int) -> tuple[int, ...]:
    if shape is None:
        return () if guess.trailing is None else (rows, *guess.trailing)

    sizes = (rows, *[guess.size] * len(shape))
    return tuple(
        size if known is None else known
        for known, size in zip(shape, sizes, strict=False)
    )


def _kind_of(spec: TensorSpec) -> str:
    """Return one of `texts`, `integers` and `floats`."""
    if spec.dtype == "string":
        return "texts"

    return "integers" if numpy_dtype(spec.dtype).kind in "iub" else "floats"


def _ways(
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
