"""Scan of a repository for what could be served; no model is read.

Accepted: `<model>/<version>/<files>`, `<model>/<files>`, bare files, one model's folder
of versions, one SavedModel folder, one file.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from inference.errors import printable
from inference.repository import checkpoints
from inference.repository.keras_folders import base_of, is_shard, map_of
from inference.repository.layout import (
    FOREIGN,
    LOST_AND_FOUND,
    NAME,
    SIDECAR,
    SUFFIXES,
    SUMS,
    VERSION,
    WARMUP,
    check_other_files,
    holds_versions,
    is_misnamed_version,
    is_model_file,
    is_model_folder,
    is_version,
    model_in,
    model_name,
    name_of_folder,
    names_of,
    nearest_file,
)
from inference.repository.packaging import is_packaged, named_model, packaged_model
from inference.repository.traversal import InvalidEntry, LimitReached, SafeTraversal
from inference.repository.triton import CONFIG, model_filename, passed_over, read_config
from inference.types import ModelId

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

LIMIT = 50_000
"""Most entries of folders that one scan visits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """One version of one model on disk: its file or SavedModel folder, and companions.

    `sums` is the SHA256SUMS file that the files must match, `warmup` has recorded
    requests.
    """

    id: ModelId
    path: Path
    sidecar: Path | None = None
    sums: Path | None = None
    warmup: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """One model: its versions, ascending, and the sidecar of the whole model."""

    name: str
    versions: tuple[ModelFiles, ...]
    sidecar: Path | None = None

    @property
    def place(self) -> str:
        """Its place in the repository, for messages."""
        first = self.versions[0].path
        return first.name if model_name(first) == self.name else f"{self.name}/"


@dataclass(slots=True, kw_only=True)
class Scan:
    """The result of one scan. `problems` says what is passed over, and why.

    Entries of `uncertain` names have a problem now: a model or version of such a name
    may be there though it isn't found. `passed_over` has problems by the names that
    the entries' models would have. `one_model` says that the repository is one model's
    folder of versions.
    """

    entries: list[ModelEntry] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    uncertain: set[str] = field(default_factory=set)
    passed_over: dict[str, list[str]] = field(default_factory=dict)
    one_model: bool = False
    _taken: dict[str, ModelEntry] = field(default_factory=dict, repr=False)

    def add(self, entry: ModelEntry, place: str) -> None:
        """Add a model, unless its name is invalid or taken."""
        taken = self._taken.get(entry.name)

        # The name is part of URLs.
        if not NAME.fullmatch(entry.name):
            self.report(
                f"{place}: '{entry.name}' can't be a model's name; rename it to "
                "letters, digits, '.', '_' and '-', beginning with a letter or digit, "
                "128 at most.",
                {entry.name},
            )
        elif taken is not None:
            self.report(
                f"{place}: the model '{entry.name}' is served from {taken.place} "
                "already; rename one of them.",
                {entry.name},
            )
        else:
            self._taken[entry.name] = entry
            self.entries.append(entry)

    @contextmanager
    def collect_errors(self, place: str, names: set[str]) -> Iterator[None]:
        """Report an error in `place` and go on; `names` are uncertain then."""
        try:
            yield
        except InvalidEntry as exc:
            self.mark_uncertain(f"{place}: {exc}", names)
        except OSError as exc:
            self.mark_uncertain(f"{place}: it can't be read: {exc.strerror}.", names)

    def mark_uncertain(self, problem: str, names: set[str]) -> None:
        self.report(problem, names)
        self.uncertain |= names

    def report(self, problem: str, names: set[str]) -> None:
        """Add a problem of entries whose models would have these names."""
        # File names may have any bytes, and end up in logs and documents.
        text = printable(problem)
        self.problems.append(text)

        for name in names:
            self.passed_over.setdefault(name, []).append(text)


def scan_repository(
    root: Path,
    *,
    limit: int = LIMIT,
    one_model: bool = False,
    name: str | None = None,
    follow: Iterable[Path] = (),
) -> Scan:
    """Find all versions of the models below `root`, in at most `limit` entries.

    Symlinks may lead into the folders of `follow` as well. `one_model` says that `root`
    was one model's folder of versions before: it remains one while it has versions,
    whatever else is added. With a `name`, `root` is the one model of this name. Raises
    `OSError` if `root` itself can't be read.
    """
    if root.name in ("", ".."):
        root = root.resolve()

    bounded = partial(SafeTraversal, limit=limit, follow=follow)

    if root.is_file():
        finder = _Finder(bounded(root.parent), name)
        finder.find_one(root)
    elif name is not None or _is_model(root):
        # Companions of all versions lie above a version's folder.
        above = [root.parent] if VERSION.fullmatch(root.name) else []
        finder = _Finder(bounded(root, *above), name)
        finder.find_one(root)
    else:
        finder = _Finder(bounded(root))
        finder.find_all(root, one_model=one_model)

    return finder.scan


class _Finder:
    """A scan in progress, of models named like their files or of the one of a name."""

    def __init__(self, traversal: SafeTraversal, name: str | None = None) -> None:
        self.scan = Scan()
        self._traversal = traversal
        self._name = name

    def find_all(self, root: Path, *, one_model: bool) -> None:
        # Names alone cost little; each entry is counted when it is visited.
        names = [name for name in sorted(os.listdir(root)) if not _is_ignored(name)]
        entries = [root / name for name in names]

        if holds_versions(entries, only=not one_model):
            self.scan.one_model = True
            entries = [root]

        for position, path in enumerate(entries):
            try:
                with self.scan.collect_errors(path.name, names_of(path)):
                    self._find(path, root)
            except LimitReached as exc:
                self._give_up(entries[position:], exc)
                return

    def find_one(self, root: Path) -> None:
        """Find the model that `root` is, or, if it has a name, holds."""
        names = {self._name} if self._name else {*names_of(root), root.parent.name}

        try:
            with self.scan.collect_errors(root.name, names):
                if not root.is_dir():
                    self._find_file(root, root.parent)
                elif self._name is None or _is_model(root):
                    self._find_folder(root)
                else:
                    self._find_versions(root, root)
        except LimitReached as exc:
            self._give_up([root], exc)

    def _find_file(self, path: Path, root: Path) -> None:
        """Add a bare file as version 1 of the model of its name."""
        stem = model_name(path)
        name = self._name or stem
        check_other_files(path, self._traversal)
        files = ModelFiles(
            id=ModelId(name, 1),
            path=path,
            sidecar=self._companion(
                path.with_suffix(".toml"), path.with_name(f"{stem}.toml")
            ),
            sums=self._companion(root / SUMS),
            warmup=self._companion(path.with_name(f"{stem}.{WARMUP}")),
        )
        self._add(name, [files], files.sidecar, path.name)

    def _find_folder(self, folder: Path) -> None:
        """Add a model's folder, or a version's: the name stands above that."""
        is_numbered = VERSION.fullmatch(folder.name)
        model = folder.parent if is_numbered else folder
        number = int(folder.name) if is_numbered else 1
        files = self._version(folder, model, model, number)
        self._add(self._name_of(model), [files], files.sidecar, folder.name)

    def _find(self, path: Path, root: Path) -> None:
        self._traversal.count(1)
        self._traversal.check(path)

        if path.is_dir():
            self._find_versions(path, root)
        elif is_shard(path) and map_of(path).is_file():
            raise InvalidEntry(
                f"one shard of {map_of(path).name}; put it, the other shards and the "
                f"architecture ({base_of(path)}.json) into a folder of their own."
            )
        elif is_model_file(path):
            self._find_file(path, root)
        elif missing := checkpoints.incomplete(path):
            raise InvalidEntry(missing)
        elif path.suffix.lower() in FOREIGN:
            raise InvalidEntry(
                f"not a format that is served; these are: "
                f"{', '.join(sorted(SUFFIXES))} and SavedModel folders."
            )

    def _find_versions(self, model: Path, root: Path) -> None:
        children = self._traversal.children(model)
        folders = [path for path in children if is_version(path)]

        if not folders:
            files = self._version(model, model, root, 1)
            self._add(self._name_of(model), [files], files.sidecar, f"{model.name}/")
            return

        self._report_misnamed(model, children)
        self._report_config(model)
        found = []

        for folder in sorted(folders, key=lambda path: int(path.name)):
            with self.scan.collect_errors(f"{model.name}/{folder.name}", {model.name}):
                self._traversal.check(folder)
                number = int(folder.name)
                found.append(self._version(folder, model, root, number))

        if found:
            sidecar = self._companion(model / SIDECAR)
            self._add(self._name_of(model), found, sidecar, f"{model.name}/")

    def _report_misnamed(self, model: Path, children: list[Path]) -> None:
        for path in filter(is_misnamed_version, children):
            self.scan.report(
                f"{model.name}/{path.name}: not a version; versions are named 1, 2, 3 "
                "…, without leading zeros.",
                {model.name},
            )

    def _report_config(self, model: Path) -> None:
        config = self._companion(model / CONFIG)
        problem = passed_over(read_config(config)) if config else None

        if problem is not None:
            self.scan.report(f"{model.name}/{CONFIG}: {problem}", set())

    def _report_beside(self, path: Path, folder: Path, model: Path) -> None:
        """Report models that a tool's folder has beside the one that is served."""
        place = model.name if folder == model else f"{model.name}/{folder.name}"
        beside = [each for each in self._traversal.children(folder) if each != path]

        for other in beside:
            if other.suffix.lower() in SUFFIXES and not checkpoints.is_graph(other):
                chosen = path.relative_to(folder).as_posix()
                self.scan.report(
                    f"{place}/{other.name}: not served, as {chosen} beside it is.",
                    set(),
                )

    def _version(
        self, folder: Path, model: Path, root: Path, number: int
    ) -> ModelFiles:
        path = self._model_in(folder, model)
        folders = list(dict.fromkeys((folder, model)))
        own = [path.with_suffix(".toml")] if path != folder else []
        sidecars = own + [each / SIDECAR for each in folders]
        return ModelFiles(
            id=ModelId(self._name_of(model), number),
            path=path,
            sidecar=self._companion(*sidecars),
            sums=self._companion(*(each / SUMS for each in (folder, model, root))),
            warmup=self._companion(*(each / WARMUP for each in folders)),
        )

    def _model_in(self, folder: Path, model: Path) -> Path:
        config = self._companion(model / CONFIG)
        name = model_filename(read_config(config)) if config else None

        if name is not None:
            return named_model(folder, name, self._traversal)

        packaged = packaged_model(folder, self._traversal)

        if packaged is None:
            return model_in(folder, self._traversal)

        self._report_beside(packaged, folder, model)
        return packaged

    def _name_of(self, folder: Path) -> str:
        return self._name or name_of_folder(folder)

    def _companion(self, *places: Path) -> Path | None:
        return nearest_file(places, self._traversal)

    def _add(
        self, name: str, found: list[ModelFiles], sidecar: Path | None, place: str
    ) -> None:
        entry = ModelEntry(name=name, versions=tuple(found), sidecar=sidecar)
        self.scan.add(entry, place)

    def _give_up(self, left: list[Path], reason: LimitReached) -> None:
        self.scan.mark_uncertain(
            f"{left[0].name}: the repository has {reason}; this entry and those "
            "after it are passed over.",
            {name for path in left for name in names_of(path)},
        )


def _is_model(folder: Path) -> bool:
    return is_model_folder(folder) or is_packaged(folder)


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name == LOST_AND_FOUND
