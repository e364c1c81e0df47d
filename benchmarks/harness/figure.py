"""A measured number against its target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A measurement that must be at least or at most its target.

    A missing measurement is NaN, which misses every target.
    """

    name: str
    target: float
    compared: Literal["at least", "at most"]
    measured: float

    @property
    def passed(self) -> bool:
        if self.compared == "at least":
            return self.measured >= self.target

        return self.measured <= self.target

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """Name, target, measurement and verdict, as text."""
        verdict = "PASS" if self.passed else "MISS"
        target = f"{self.compared} {self.target:.4g}"
        return self.name, target, f"{self.measured:.4g}", verdict


def at_least(target: float, name: str, measured: float) -> Figure:
    return Figure(name=name, target=target, compared="at least", measured=measured)


def at_most(target: float, name: str, measured: float) -> Figure:
    return Figure(name=name, target=target, compared="at most", measured=measured)
