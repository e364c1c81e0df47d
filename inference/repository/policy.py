"""Which versions of a model are served: its policy, and what labels point at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from inference.repository.sidecar import VersionsTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What a model's sidecar says of its versions; `source` is that file."""

    table: VersionsTable
    labels: Mapping[str, int] = field(default_factory=dict)
    pinned: bool = False
    source: Path | None = None


def wanted(
    found: Iterable[int], table: VersionsTable, labelled: Iterable[int]
) -> list[int]:
    """The versions to serve of those `found`, ascending.

    What is named and not found is left out; see `missing`.
    """
    there = sorted(set(found))
    return sorted({*_by_policy(there, table), *(set(labelled) & set(there))})


def missing(
    found: Iterable[int], table: VersionsTable, labels: Mapping[str, int]
) -> list[str]:
    """What is said against versions that are named and not found, one text for each."""
    there = set(found)
    named = [
        f"version {version} isn't there; the sidecar's [versions] names it"
        for version in table.only or ()
        if version not in there
    ]
    labelled = [
        f"version {version} isn't there; the label '{label}' points at it"
        for label, version in sorted(labels.items())
        if version not in there
    ]
    return named + labelled


def _by_policy(ascending: list[int], table: VersionsTable) -> list[int]:
    if table.all:
        return ascending

    if table.only is not None:
        return [version for version in ascending if version in table.only]

    return ascending[-(table.latest or 1) :]
