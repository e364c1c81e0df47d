"""What the servers are asked for."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.load.workbench import FROZEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Requests of `rows` rows to one model, over each number of `connections`.

    Figures are compared at `standard` of them. One that is `opened` is also asked at
    fixed rates: below its capacity, and above it.
    """

    name: str
    title: str
    model: str
    rows: int
    connections: tuple[int, ...]
    standard: int
    opened: bool


DENSE = Workload(
    name="dense",
    title="dense 32-64-64-1, one row",
    model="dense",
    rows=1,
    connections=(1, 32, 128),
    standard=32,
    opened=True,
)
MOBILENET = Workload(
    name="mobilenet",
    title="MobileNetV2 160×160, one row",
    model="mobilenet",
    rows=1,
    connections=(8,),
    standard=8,
    opened=True,
)
MOBILENET_8 = Workload(
    name="mobilenet-8",
    title="MobileNetV2 160×160, eight rows",
    model="mobilenet",
    rows=8,
    connections=(8,),
    standard=8,
    opened=False,
)
WORKLOADS = (DENSE, MOBILENET, MOBILENET_8)

PAIR, FAIRNESS = "pair", "fairness"
NAMES = (*(each.name for each in WORKLOADS), PAIR, FAIRNESS)

PAIRED = {"dense": 32, "mobilenet": 8}
"""Models that are asked as `.h5` and `.pb` at once, and over how many connections in
all."""

HEAVY, LIGHT = "mobilenet", f"dense{FROZEN}"
HEAVY_CONNECTIONS = 8
LIGHT_RATE = 100.0
"""Requests a second: a trickle that takes a few hundredths of the CPU."""

TAILS = (50, 70, 90)
"""Percent of capacity."""
OVERLOADS = (2, 5, 10)
"""Times capacity."""
BOUND_SECONDS = 1.0
"""An answer that comes later is no good."""
