"""A crafted file: one that would do harm, and the reason of its refusal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Crafted:
    """A file that would do harm.

    `make` writes it below a folder and returns its path; its harm is a write to
    `canary`. `reason` is a pattern of the error.
    """

    name: str
    make: Callable[[Path, Path], Path]
    reason: str
