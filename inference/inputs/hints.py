"""Hints in a model's graph at the values of its inputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Texts = tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """The values of an input, as the operations that read it suggest.

    Integers are below `count`, as indices into a table; numbers are from `low` to
    `high`, as assertions say; strings are of one of the sets of `texts`.
    """

    count: int | None = None
    low: float | None = None
    high: float | None = None
    texts: tuple[Texts, ...] = ()


NO_HINT = Hint()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """Hints by input name. `largest` is the largest size of a dimension."""

    inputs: Mapping[str, Hint] = field(default_factory=dict)
    largest: int = 2**31

    def of(self, name: str) -> Hint:
        return self.inputs.get(name, NO_HINT)


NO_HINTS = Hints()
