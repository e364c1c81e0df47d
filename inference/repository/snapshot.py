"""Snapshots of a repository: what there is, what changed, what has settled."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from inference.errors import InvalidSidecar
from inference.repository.fingerprint import take_fingerprint
from inference.repository.policy import Declaration, missing, wanted
from inference.repository.scan import scan_repository
from inference.repository.sidecar import Sidecar, read_sidecar
from inference.repository.traversal import InvalidEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from inference.repository.fingerprint import Fingerprint
    from inference.repository.scan import ModelEntry, ModelFiles, Scan


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundVersion:
    """A version's files, their fingerprint, and whether they have settled."""

    files: ModelFiles
    fingerprint: str
    quiet: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModel:
    """All versions of a model on disk, and its sidecar's declaration."""

    name: str
    declaration: Declaration
    versions: Mapping[int, FoundVersion]

    def wanted(self) -> list[int]:
        """Return the versions that the policy and labels ask for, ascending."""
        declared = self.declaration
        return wanted(self.versions, declared.table, declared.labels.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositorySnapshot:
    """A repository's content at one time; `problems` says what is passed over.

    `uncertain` are names with a problem: versions that aren't found may still be there.
    `passed_over` has problems by the names that models would have, for clients.
    """

    models: Mapping[str, FoundModel]
    problems: list[str]
    uncertain: frozenset[str]
    passed_over: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def wanted(self) -> list[ModelFiles]:
        """Return the versions that the sidecars ask for, by name, then version."""
        return [
            model.versions[version].files
            for _, model in sorted(self.models.items())
            for version in model.wanted()
        ]


class RepositoryScanner:
    """Surveys one repository, and remembers the snapshot before.

    A version is quiet when two scans found it the same; one that is seen for the
    first time also when nothing of it changed for `quiet_seconds`. With 0 all are.
    Symlinks may lead out of `root` into the folders of `follow`. With a `name`, `root`
    is the one model of this name.
    Blocks; to be called by one thread at a time.
    """

    def __init__(
        self,
        root: Path,
        *,
        quiet_seconds: float,
        clock: Callable[[], float] = time.time,
        follow: Iterable[Path] = (),
        name: str | None = None,
    ) -> None:
        self._root = root
        self._name = name
        self._follow = tuple(follow)
        self._quiet_seconds = quiet_seconds
        self._clock = clock
        self._last: Mapping[str, FoundModel] = {}
        self._one_model = False

    def scan(self) -> RepositorySnapshot:
        """Scan now. Raises `OSError` if the repository itself can't be read."""
        scan = scan_repository(
            self._root,
            one_model=self._one_model,
            name=self._name,
            follow=self._follow,
        )
        folder = self._root if self._root.is_dir() else self._root.parent
        found = [self._model(entry, scan, folder) for entry in scan.entries]
        models = {model.name: model for model in found if model.versions}
        problems = [*scan.problems, *_missing(models)]
        self._one_model = scan.one_model
        self._last = {**self._uncertain_models(scan), **models}
        return RepositorySnapshot(
            models=models,
            problems=problems,
            uncertain=frozenset(scan.uncertain),
            passed_over=scan.passed_over,
        )

    def _model(self, entry: ModelEntry, scan: Scan, folder: Path) -> FoundModel:
        declaration = self._declaration(entry, scan)
        versions = {}

        for files in entry.versions:
            own = files.path.parent != folder
            version = self._version(files, scan, own=own)

            if version is not None:
                versions[files.id.version] = version

        return FoundModel(name=entry.name, declaration=declaration, versions=versions)

    def _uncertain_models(self, scan: Scan) -> Mapping[str, FoundModel]:
        """Return what is known of models that aren't found but may come back."""
        last = self._last
        return {name: last[name] for name in scan.uncertain if name in last}

    def _declaration(self, entry: ModelEntry, scan: Scan) -> Declaration:
        """Return the sidecar's declaration; while it is broken, the last good one."""
        try:
            sidecar = read_sidecar(entry.sidecar)
        except InvalidSidecar as exc:
            scan.mark_uncertain(f"{entry.name}: {exc}", {entry.name})
            last = self._last.get(entry.name)
            if last is not None:
                return last.declaration

            sidecar = Sidecar()

        return Declaration(
            table=sidecar.versions,
            labels=sidecar.labels,
            pinned=sidecar.pinned,
            source=entry.sidecar,
        )

    def _version(
        self, files: ModelFiles, scan: Scan, *, own: bool
    ) -> FoundVersion | None:
        name = files.id.name

        try:
            fingerprint = take_fingerprint(files, folder=own)
        except FileNotFoundError:
            # It is being removed or replaced; the next scan tells which.
            scan.uncertain.add(name)
            return None
        except (InvalidEntry, OSError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else exc
            scan.mark_uncertain(f"{files.id}: it can't be read: {reason}", {name})
            return None

        return FoundVersion(
            files=files,
            fingerprint=fingerprint.digest,
            quiet=self._is_quiet(files, fingerprint),
        )

    def _is_quiet(self, files: ModelFiles, now: Fingerprint) -> bool:
        if self._quiet_seconds == 0:
            return True

        last = self._last.get(files.id.name)
        before = last.versions.get(files.id.version) if last else None

        if before is not None:
            return before.fingerprint == now.digest

        return now.changed <= self._clock() - self._quiet_seconds


def _missing(models: Mapping[str, FoundModel]) -> list[str]:
    return [
        f"{name}: {text}."
        for name, model in models.items()
        for text in missing(
            model.versions, model.declaration.table, model.declaration.labels
        )
    ]
