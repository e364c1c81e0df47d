"""The folder of models: finds what could be served, never reads a model.

Accepted: `<model>/<version>/<files>`, `<model>/<files>`, bare files, one model's folder
of versions, one SavedModel folder, one file. Names are what stands in a URL, so they
are checked here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from inference.repository import checkpoints
from inference.repository.contents import Scan
from inference.repository.keras_folders import base_of, is_shard, map_of
from inference.repository.layout import (
    FOREIGN,
    LOST_AND_FOUND,
    SIDECAR,
    SUFFIXES,
    SUMS,
    VERSION,
    WARMUP,
    check_beside,
    holds_versions,
    is_model_file,
    is_model_folder,
    is_version,
    meant_as_version,
    model_in,
    model_name,
    name_of_folder,
    names_of,
    nearest_file,
)
from inference.repository.packaging import is_packaged, named_model, packaged_model
from inference.repository.traversal import BadEntry, Boundary, LimitReached
from inference.repository.triton import CONFIG, model_filename, passed_over, read_config
from inference.types import ModelId

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

LIMIT = 50_000
"""Entries of folders that one scan looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """One version of one model on disk: a file or a SavedModel folder, its sidecar.

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
    """One model: its versions, ascending, and the sidecar that is of all of them."""

    name: str
    versions: tuple[ModelFiles, ...]
    sidecar: Path | None = None

    @property
    def place(self) -> str:
        """What of the repository it is, for messages."""
        first = self.versions[0].path
        return first.name if model_name(first) == self.name else f"{self.name}/"


def scan_repository(
    root: Path,
    *,
    limit: int = LIMIT,
    one_model: bool = False,
    follow: Iterable[Path] = (),
) -> Scan:
    """The models below `root`, all versions. Looks at `limit` entries at most.

    Symlinks may lead into the folders of `follow` as well. `one_model` says that `root`
    was one model's folder of versions before: it is as long as it has any, whatever
    else comes to lie there. Raises `OSError` where `root` itself can't be read.
    """
    if root.name in ("", ".."):
        root = root.resolve()

    bounded = partial(Boundary, limit=limit, follow=follow)

    if root.is_file():
        finder = _Finder(bounded(root.parent))
        finder.find_one(root)
    elif is_model_folder(root) or is_packaged(root):
        # What goes with all versions lies above a version's folder.
        above = [root.parent] if VERSION.fullmatch(root.name) else []
        finder = _Finder(bounded(root, *above))
        finder.find_one(root)
    else:
        finder = _Finder(bounded(root))
        finder.find_all(root, one_model=one_model)

    return finder.scan


class _Finder:
    """One scan under way."""

    def __init__(self, boundary: Boundary) -> None:
        self.scan = Scan()
        self._boundary = boundary

    def find_all(self, root: Path, *, one_model: bool) -> None:
        # Names alone cost little; each entry is counted when it is looked at.
        names = [name for name in sorted(os.listdir(root)) if not _is_ignored(name)]
        entries = [root / name for name in names]

        if holds_versions(entries, only=not one_model):
            self.scan.one_model = True
            entries = [root]

        for position, path in enumerate(entries):
            try:
                with self.scan.blaming(path.name, names_of(path)):
                    self._find(path, root)
            except LimitReached as exc:
                self._give_up(entries[position:], exc)
                return

    def find_one(self, root: Path) -> None:
        """A model given itself."""
        try:
            with self.scan.blaming(root.name, {*names_of(root), root.parent.name}):
                if root.is_dir():
                    self._find_folder(root)
                else:
                    self._find_file(root, root.parent)
        except LimitReached as exc:
            self._give_up([root], exc)

    def _find_file(self, path: Path, root: Path) -> None:
        """A bare file is version 1 of the model of its name."""
        name = model_name(path)
        check_beside(path, self._boundary)
        files = ModelFiles(
            id=ModelId(name, 1),
            path=path,
            sidecar=self._companion(
                path.with_suffix(".toml"), path.with_name(f"{name}.toml")
            ),
            sums=self._companion(root / SUMS),
            warmup=self._companion(path.with_name(f"{name}.{WARMUP}")),
        )
        self._add(name, [files], files.sidecar, path.name)

    def _find_folder(self, folder: Path) -> None:
        """One model's. In a version's folder the name stands above it."""
        is_numbered = VERSION.fullmatch(folder.name)
        model = folder.parent if is_numbered else folder
        number = int(folder.name) if is_numbered else 1
        files = self._version(folder, model, model, number)
        self._add(name_of_folder(model), [files], files.sidecar, folder.name)

    def _find(self, path: Path, root: Path) -> None:
        self._boundary.count(1)
        self._boundary.check(path)

        if path.is_dir():
            self._find_versions(path, root)
        elif is_shard(path) and map_of(path).is_file():
            raise BadEntry(
                f"one shard of {map_of(path).name}; put it, the other shards and the "
                f"architecture ({base_of(path)}.json) into a folder of their own."
            )
        elif is_model_file(path):
            self._find_file(path, root)
        elif missing := checkpoints.incomplete(path):
            raise BadEntry(missing)
        elif path.suffix.lower() in FOREIGN:
            raise BadEntry(
                f"not a format that is served; these are: "
                f"{', '.join(sorted(SUFFIXES))} and SavedModel folders."
            )

    def _find_versions(self, model: Path, root: Path) -> None:
        children = self._boundary.children(model)
        folders = [path for path in children if is_version(path)]

        if not folders:
            files = self._version(model, model, root, 1)
            self._add(name_of_folder(model), [files], files.sidecar, f"{model.name}/")
            return

        self._report_misnamed(model, children)
        self._report_config(model)
        found = []

        for folder in sorted(folders, key=lambda path: int(path.name)):
            with self.scan.blaming(f"{model.name}/{folder.name}", {model.name}):
                self._boundary.check(folder)
                number = int(folder.name)
                found.append(self._version(folder, model, root, number))

        if found:
            sidecar = self._companion(model / SIDECAR)
            self._add(name_of_folder(model), found, sidecar, f"{model.name}/")

    def _report_misnamed(self, model: Path, children: list[Path]) -> None:
        for path in filter(meant_as_version, children):
            self.scan.report(
                f"{model.name}/{path.name}: not a version; versions are named 1, 2, 3 "
                "…, without leading zeros.",
                {model.name},
            )

    def _report_config(self, model: Path) -> None:
        config = self._companion(model / CONFIG)
        said = passed_over(read_config(config)) if config else None

        if said is not None:
            self.scan.report(f"{model.name}/{CONFIG}: {said}", set())

    def _report_beside(self, path: Path, folder: Path, model: Path) -> None:
        """Say which model of a tool's folder isn't served."""
        place = model.name if folder == model else f"{model.name}/{folder.name}"
        beside = [each for each in self._boundary.children(folder) if each != path]

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
            id=ModelId(name_of_folder(model), number),
            path=path,
            sidecar=self._companion(*sidecars),
            sums=self._companion(*(each / SUMS for each in (folder, model, root))),
            warmup=self._companion(*(each / WARMUP for each in folders)),
        )

    def _model_in(self, folder: Path, model: Path) -> Path:
        config = self._companion(model / CONFIG)
        name = model_filename(read_config(config)) if config else None

        if name is not None:
            return named_model(folder, name, self._boundary)

        packaged = packaged_model(folder, self._boundary)

        if packaged is None:
            return model_in(folder, self._boundary)

        self._report_beside(packaged, folder, model)
        return packaged

    def _companion(self, *places: Path) -> Path | None:
        return nearest_file(places, self._boundary)

    def _add(
        self, name: str, found: list[ModelFiles], sidecar: Path | None, place: str
    ) -> None:
        entry = ModelEntry(name=name, versions=tuple(found), sidecar=sidecar)
        self.scan.add(entry, place)

    def _give_up(self, left: list[Path], reason: LimitReached) -> None:
        self.scan.doubt(
            f"{left[0].name}: the repository has {reason}; this one and what comes "
            "after it is passed over.",
            {name for path in left for name in names_of(path)},
        )


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name == LOST_AND_FOUND
