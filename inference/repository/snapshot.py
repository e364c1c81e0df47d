"""Looks at a repository again and again: what there is, what changed, what is quiet."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from inference.errors import InvalidSidecar
from inference.repository.fingerprint import take_fingerprint
from inference.repository.policy import Declaration, missing, wanted
from inference.repository.scan import scan_repository
from inference.repository.sidecar import Sidecar, read_sidecar
from inference.repository.traversal import BadEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from inference.repository.contents import Scan
    from inference.repository.fingerprint import Fingerprint
    from inference.repository.scan import ModelEntry, ModelFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundVersion:
    """A version's files, what they are like now, and whether nobody writes to them."""

    files: ModelFiles
    fingerprint: str
    quiet: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModel:
    """All versions of a model that are there, and what its sidecar says of them."""

    name: str
    declaration: Declaration
    versions: Mapping[int, FoundVersion]

    def wanted(self) -> list[int]:
        """The versions that the sidecar's policy and labels ask for, ascending."""
        said = self.declaration
        return wanted(self.versions, said.table, said.labels.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a repository holds at one time; `problems` says what is wrong with it.

    `doubtful` are names with a problem: what isn't found of them may still be there.
    `passed_over` has what is said to clients, by the names that models would have.
    """

    models: Mapping[str, FoundModel]
    problems: list[str]
    doubtful: frozenset[str]
    passed_over: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def wanted(self) -> list[ModelFiles]:
        """The versions that the sidecars ask for, by name, then version."""
        return [
            model.versions[version].files
            for _, model in sorted(self.models.items())
            for version in model.wanted()
        ]


class Surveyor:
    """Surveys one repository, and remembers the survey before.

    A version is quiet when two surveys found it the same; one that is seen for the
    first time also when nothing of it changed for `quiet_seconds`. With 0 all are.
    Symlinks may lead out of `root` into the folders of `follow`.
    Blocks; to be called by one thread at a time.
    """

    def __init__(
        self,
        root: Path,
        *,
        quiet_seconds: float,
        clock: Callable[[], float] = time.time,
        follow: Iterable[Path] = (),
    ) -> None:
        self._root = root
        self._follow = tuple(follow)
        self._quiet_seconds = quiet_seconds
        self._clock = clock
        self._last: Mapping[str, FoundModel] = {}
        self._one_model = False

    def survey(self) -> Survey:
        """Raises `OSError` where the repository itself can't be read."""
        scan = scan_repository(
            self._root, one_model=self._one_model, follow=self._follow
        )
        folder = self._root if self._root.is_dir() else self._root.parent
        found = [self._model(entry, scan, folder) for entry in scan.entries]
        models = {model.name: model for model in found if model.versions}
        problems = [*scan.problems, *_missing(models)]
        self._one_model = scan.one_model
        self._last = {**self._in_doubt(scan), **models}
        return Survey(
            models=models,
            problems=problems,
            doubtful=frozenset(scan.doubtful),
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

    def _in_doubt(self, scan: Scan) -> Mapping[str, FoundModel]:
        """What was known of models that aren't found, but may come back."""
        last = self._last
        return {name: last[name] for name in scan.doubtful if name in last}

    def _declaration(self, entry: ModelEntry, scan: Scan) -> Declaration:
        """What the model's sidecar says; while it is broken, what it said before."""
        try:
            sidecar = read_sidecar(entry.sidecar)
        except InvalidSidecar as exc:
            scan.doubt(f"{entry.name}: {exc}", {entry.name})
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
            # It is being removed or replaced; the next survey sees which.
            scan.doubtful.add(name)
            return None
        except (BadEntry, OSError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else exc
            scan.doubt(f"{files.id}: it can't be looked at: {reason}", {name})
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
