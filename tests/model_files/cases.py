"""A model file and its own framework's outputs, as values without TensorFlow."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference.types import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One request as a client would send it, and the right outputs.

    `signature` `""` is the model's default one. String tensors are object arrays of
    `bytes`.
    """

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    signature: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model at `path`, and examples that its source framework computed.

    `optional` are the default signature's optional inputs, with their defaults.
    `batchable` says whether its rows may be joined (`None`: undecided here).
    `tolerance` is absolute.
    """

    path: Path
    examples: tuple[Example, ...]
    optional: Mapping[str, float | bool] = field(default_factory=dict)
    batchable: bool | None = None
    tolerance: float = 1e-5


Builder = Callable[[Path], Case]
"""Writes a model into an empty folder and says what is right."""

Breaker = Callable[[Path], Path]
"""Writes a model that can't be served into an empty folder; the file or folder."""


def save_case(case: Case, root: Path, name: str) -> None:
    """Write the outputs as `<name>.pickle` beside the case's folder."""
    kept = replace(case, path=case.path.relative_to(root))
    (root / f"{name}.pickle").write_bytes(pickle.dumps(kept))


def load_case(root: Path, name: str) -> Case:
    case: Case = pickle.loads((root / f"{name}.pickle").read_bytes())
    return replace(case, path=root / case.path)


def save_broken(path: Path, root: Path, name: str) -> None:
    (root / f"{name}.path").write_text(str(path.relative_to(root)))


def load_broken(root: Path, name: str) -> Path:
    """Return the file or folder that must be refused."""
    return root / (root / f"{name}.path").read_text()
