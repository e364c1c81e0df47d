"""What a crafted file is: one that would hurt, and why it must be refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Crafted:
    """A file that would hurt. `make` writes it below a folder and returns its path;
    whatever it would do goes to `canary`. `reason` is searched in the refusal."""

    name: str
    make: Callable[[Path, Path], Path]
    reason: str
