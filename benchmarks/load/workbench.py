"""What a run works with: model files, requests and answers, folders, CPUs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks import models, references
from benchmarks.children import child
from benchmarks.load.exchanges import exchanges, rounded
from benchmarks.load.process import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.load.exchanges import Exchange, Form
    from inference.types import Array

SHAPES = {"dense": (32,), "mobilenet": (160, 160, 3)}
VARIETY = {"dense": 64, "mobilenet": 16}
"""So many different rows are asked."""

SIDECAR = """# Calls of 100 ms: a long queue would be seconds of waiting.
max_queue = 8

[batching]
max_rows = 8
"""
"""Beside the heavy model, as its operator would set it."""

FROZEN = "_frozen"
"""Ends the name of a model's `.pb`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """Folders and files of one run; `tandem` is the command that starts our server."""

    folder: Path
    peers: Path
    tandem: str
    server_cpus: list[int]
    client_cpus: list[int]
    files: dict[str, Path]
    rows: dict[str, Array]
    answers: dict[str, Array]
    root: Path = ROOT
    _made: dict[tuple[str, int, Form, str], list[Exchange]] = field(
        default_factory=dict
    )
    _artifacts: dict[str, Path] = field(default_factory=dict)

    @property
    def models(self) -> list[str]:
        return list(self.files)

    @property
    def repository(self) -> Path:
        return self.folder / "models"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def artifacts(self) -> dict[str, Path]:
        """The compiled forms of all models, compiled when first asked for."""
        if not self._artifacts:
            self._artifacts.update(models.compile_models(self.files, self.cache))

        return self._artifacts

    def exchanges(self, model: str, rows: int, form: Form, path: str) -> list[Exchange]:
        """Requests to `model` in `form`, of `rows` rows each, made once."""
        key = (model, rows, form, path)

        if key not in self._made:
            asked = model.removesuffix(FROZEN)
            self._made[key] = exchanges(
                self.rows[asked],
                self.answers[asked],
                size=rows,
                form=form,
                path=path,
            )

        return self._made[key]


def prepare(
    folder: Path,
    *,
    peers: Path,
    tandem: str,
    server_cpus: list[int],
    client_cpus: list[int],
) -> Workbench:
    """Write the models into `folder`, and ask Keras for the answers."""
    repository = folder / "models"

    for each in (repository, folder / "logs"):
        each.mkdir(parents=True, exist_ok=True)

    (repository / "mobilenet.toml").write_text(SIDECAR)

    with child() as writer:
        files = writer.call(models.write_served, repository)
        rows = {
            name: rounded(models.rows_for(shape, VARIETY[name]))
            for name, shape in SHAPES.items()
        }
        answers = {
            name: writer.call(references.answer_rows, files[name], asked)
            for name, asked in rows.items()
        }

    return Workbench(
        folder=folder,
        peers=peers,
        tandem=tandem,
        server_cpus=server_cpus,
        client_cpus=client_cpus,
        files=files,
        rows=rows,
        answers=answers,
    )
