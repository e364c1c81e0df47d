"""Directives of a client's `Cache-Control` (RFC 9111, section 5.2.1)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Directives:
    """The directives of a request; `max_age` and `min_fresh` are in seconds."""

    no_store: bool = False
    no_cache: bool = False
    only_if_cached: bool = False
    max_age: float | None = None
    min_fresh: float | None = None

    def allow(self, age: float, seconds: float) -> bool:
        """Return whether an answer of `age`, good for `seconds`, may be given."""
        if self.max_age is not None and age > self.max_age:
            return False

        return self.min_fresh is None or seconds - age >= self.min_fresh


NO_DIRECTIVES = Directives()
