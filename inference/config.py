"""Configuration of an engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from inference.limits import Limits
from inference.permissions import Permissions
from inference.system.memory import available_memory

if TYPE_CHECKING:
    from pathlib import Path

BUDGET_SHARE = 0.6
"""Of the machine's or container's memory; TensorFlow and requests take the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """`repository` is a folder of models or one model; `cache` holds artifacts.

    With a `model_name`, `repository` is the one model of this name.
    `limits` apply where a model's sidecar doesn't say otherwise. `memory_budget`, and
    `compile_memory` of one compiler, are in bytes; `None` for a share of the machine's
    or container's. `cache_bytes` is the limit for artifacts. The repository is scanned
    every `scan_seconds`; 0 for once.
    """

    repository: Path
    cache: Path
    model_name: str | None = None
    limits: Limits = field(default_factory=Limits)
    compile_timeout_seconds: float = 900.0
    compile_memory: int | None = None
    permissions: Permissions = field(default_factory=Permissions)
    memory_budget: int | None = None
    cache_bytes: int | None = None
    scan_seconds: float = 0.0

    @property
    def budget(self) -> int:
        return self.memory_budget or int(available_memory() * BUDGET_SHARE)
