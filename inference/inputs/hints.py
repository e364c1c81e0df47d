"""Values that a model's graph says its inputs may have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Texts = tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """A hint at an input's values, from the operations that read it.

    It takes integers below `count`, as an index into a table does, numbers from `low`
    to `high`, as assertions say, and one of the sets of `texts`.
    """

    count: int | None = None
    low: float | None = None
    high: float | None = None
    texts: tuple[Texts, ...] = ()


NO_HINT = Hint()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """By input. `largest` is the longest that a dimension may be made."""

    inputs: Mapping[str, Hint] = field(default_factory=dict)
    largest: int = 2**31

    def of(self, name: str) -> Hint:
        return self.inputs.get(name, NO_HINT)


NO_HINTS = Hints()
