"""The choice of the versions to serve: a model's policy and its labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from inference.repository.sidecar import VersionsTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A model's version policy, labels and pin, as declared by the sidecar `source`."""

    table: VersionsTable
    labels: Mapping[str, int] = field(default_factory=dict)
    pinned: bool = False
    source: Path | None = None


def wanted(
    found: Iterable[int], table: VersionsTable, labelled: Iterable[int]
) -> list[int]:
    """Return the versions to serve of those `found`, ascending.

    Named versions that aren't found are left out; see `missing`.
    """
    there = sorted(set(found))
    return sorted({*_by_policy(there, table), *(set(labelled) & set(there))})


def missing(
    found: Iterable[int], table: VersionsTable, labels: Mapping[str, int]
) -> list[str]:
    """Return a text for each version that is named and not found."""
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
