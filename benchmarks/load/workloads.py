"""Requests that the servers are asked with: workloads, and the models behind them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.harness import models
from benchmarks.harness.children import child
from benchmarks.harness.exchanges import predictions, rounded

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.harness.exchanges import Exchange, Form
    from benchmarks.harness.run import Run
    from inference.types import Array


class Workload(NamedTuple):
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
    "dense", "dense 32-64-64-1, one row", "dense", 1, (1, 32, 128), 32, opened=True
)
MOBILENET = Workload(
    "mobilenet", "MobileNetV2 160×160, one row", "mobilenet", 1, (8,), 8, opened=True
)
MOBILENET_8 = Workload(
    "mobilenet-8",
    "MobileNetV2 160×160, eight rows",
    "mobilenet",
    8,
    (8,),
    8,
    opened=False,
)
WORKLOADS = (DENSE, MOBILENET, MOBILENET_8)

FROZEN = "_frozen"
"""Ends the name of a model's `.pb`."""
PAIR, FAIRNESS = "pair", "fairness"
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
SIZES = (1, 2, 4, 8, 16, 32, 64)
"""Of batches, in process."""
BOUND_SECONDS = 1.0
"""An answer that comes later is no good."""

SHAPES = {"dense": (32,), "mobilenet": (160, 160, 3)}
VARIETY = {"dense": 64, "mobilenet": 16}
"""Different rows that are asked."""
SIDECAR = """# Calls of 100 ms: a long queue would be seconds of waiting.
max_queue = 8

[batching]
max_rows = 8
"""
"""Beside the heavy model, as its operator would set it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """Model files, artifacts, rows and answers of one run, by model."""

    run: Run
    files: dict[str, Path]
    artifacts: dict[str, Path]
    rows: dict[str, Array]
    answers: dict[str, Array]
    _made: dict[tuple[str, int, Form, str], list[Exchange]] = field(
        default_factory=dict
    )

    @property
    def repository(self) -> Path:
        return self.run.folder / "models"

    @property
    def cache(self) -> Path:
        return self.run.folder / "cache"

    @property
    def logs(self) -> Path:
        return self.run.subfolder("logs")

    def exchanges(self, model: str, rows: int, form: Form, path: str) -> list[Exchange]:
        """Return requests to `model` of `rows` rows each, made once."""
        key = (model, rows, form, path)

        if key not in self._made:
            asked = model.removesuffix(FROZEN)
            self._made[key] = predictions(
                self.rows[asked], self.answers[asked], path, size=rows, form=form
            )

        return self._made[key]


def prepare(run: Run) -> Workbench:
    """Write and compile the models, and ask Keras for the answers."""
    repository = run.subfolder("models")
    (repository / f"{HEAVY}.toml").write_text(SIDECAR)
    rows = {
        name: rounded(models.rows_for(shape, VARIETY[name]))
        for name, shape in SHAPES.items()
    }

    with child() as writer:
        files = writer.call(models.write_served, repository)
        answers = {
            name: writer.call(models.answer_keras, files[name], asked)
            for name, asked in rows.items()
        }

    return Workbench(
        run=run,
        files=files,
        artifacts=models.compile_models(files, run.folder / "cache"),
        rows=rows,
        answers=answers,
    )
