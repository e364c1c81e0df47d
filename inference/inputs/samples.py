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
from inference.inputs.hints import NO_HINTS
from inference.inputs.part_samples import fit_parts
from inference.inputs.sample_values import kind_of, ways

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from inference.inputs.hints import Hints, Texts
    from inference.inputs.sample_values import Draw
    from inference.types import Array, Shape, Signature, TensorSpec

SIZES = (16, 1, 64, 224, 1024, 4096, 12_288, 48_000)
MOST_VALUES = 2**22
"""Most values of one generated input, at unusual sizes."""

MOST_CANDIDATES = 96
_RARITY = {"floats": 2, "rows": 4}
"""The rarity of assumptions other than the first, where it is more than a size's."""

UNKNOWN_RANKS = ((16,), (), None, (32, 32, 3), (28, 28, 1), (224, 224, 3))
_USUAL = 224


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
class Made:
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
        return ways(spec, hint, texts=self.texts, longest=self._longest(spec))

    def _tensor(
        self, spec: TensorSpec, rows: int, generator: np.random.Generator
    ) -> Array:
        if spec.default is not None:
            return spec.default

        shape = _shape(spec.shape, self.guess, rows)
        drawn = self.ways(spec)
        way: int = getattr(self.guess, kind_of(spec))
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
) -> Iterator[Made]:
    """Yield at most `MOST_CANDIDATES` candidates for `signature`, likely ones first.

    `texts` are sets of strings that the model is likely to take. One rare assumption
    comes before two.
    """
    first = Made(signature=signature, hints=hints, texts=texts)
    specs = [spec for spec in signature.inputs.values() if spec.required]
    axes: dict[str, Sequence[Any]] = {
        "size": _sizes(specs, hints),
        "trailing": UNKNOWN_RANKS if _any_rank(specs) else UNKNOWN_RANKS[:1],
        "rows": (2, 1) if any(_leads_open(spec) for spec in specs) else (2,),
    }

    for kind in ("texts", "integers", "floats"):
        counts = [len(first.ways(spec)) for spec in specs if kind_of(spec) == kind]
        axes[kind] = range(max(counts, default=1))

    for chosen in _by_rarity(axes):
        guess = Guess(**chosen)
        yield Made(signature=signature, guess=guess, hints=hints, texts=texts)


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
