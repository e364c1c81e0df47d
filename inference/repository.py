"""The folder of models: finds what could be served, never reads a model.

Accepted: `<model>/<version>/<files>`, `<model>/<files>`, bare files, one model's folder
of versions, one SavedModel folder, one file. Names are what stands in a URL, so they
are checked here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from inference.types import ModelId

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
VERSION = re.compile(r"[1-9][0-9]{0,17}")
SUFFIXES = {".h5", ".hdf5", ".keras", ".pb"}
FOREIGN = {".ckpt", ".mlmodel", ".onnx", ".pbtxt", ".pkl", ".pt", ".pth", ".tflite"}
SAVED_MODEL = {"saved_model.pb", "saved_model.pbtxt"}
SIDECAR = "model.toml"
_HDF5 = b"\x89HDF\r\n\x1a\n"


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


@dataclass(slots=True, kw_only=True)
class Scan:
    """What a repository holds. `problems` says what of it is passed over, and why."""

    models: list[ModelFiles] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, files: ModelFiles) -> None:
        """Take up a model, unless its name can't be one or is taken."""
        name = files.id.name

        if not NAME.fullmatch(name):
            self.problems.append(
                f"{files.path.name}: '{name}' can't be a model's name; rename it to "
                "letters, digits, '.', '_' and '-', beginning with a letter or digit."
            )
        elif any(each.id == files.id for each in self.models):
            taken = next(each.path.name for each in self.models if each.id == files.id)
            self.problems.append(
                f"{files.path.name}: the model '{name}' is served from {taken} "
                "already; rename one of them."
            )
        else:
            self.models.append(files)


def scan_repository(root: Path) -> Scan:
    """The models below `root`, the newest version of each. Raises `OSError`."""
    scan = Scan()

    if root.is_file():
        scan.add(_bare_file(root))
    elif _is_saved_model(root):
        scan.add(_single(root))
    elif _holds_only_versions(root):
        _scan_folder(scan, root)
    else:
        for entry in sorted(root.iterdir()):
            _scan_entry(scan, entry)

    return scan


def _scan_entry(scan: Scan, entry: Path) -> None:
    if entry.name.startswith("."):
        return

    if entry.is_dir():
        _scan_folder(scan, entry)
    elif _is_model_file(entry):
        scan.add(_bare_file(entry))
    elif entry.suffix.lower() in FOREIGN:
        scan.problems.append(
            f"{entry.name}: not a format that is served; these are: "
            f"{', '.join(sorted(SUFFIXES))} and SavedModel folders."
        )


def _scan_folder(scan: Scan, folder: Path) -> None:
    versions = [each for each in folder.iterdir() if VERSION.fullmatch(each.name)]

    if not versions:
        _add_version(scan, folder, ModelId(folder.name, 1))
        return

    newest = max(versions, key=lambda each: int(each.name))
    _add_version(scan, newest, ModelId(folder.name, int(newest.name)))


def _add_version(scan: Scan, folder: Path, model_id: ModelId) -> None:
    found = [folder] if _is_saved_model(folder) else list(_model_files(folder))

    if len(found) == 1:
        path = found[0]
        scan.add(ModelFiles(id=model_id, path=path, sidecar=_sidecar(path, folder)))
        return

    names = ", ".join(path.name for path in found)
    what = f"holds several models ({names}); keep one" if found else "holds no model"
    scan.problems.append(f"{model_id.name}: {folder.name}/ {what}.")


def _single(folder: Path) -> ModelFiles:
    """A SavedModel given itself; in a version's folder the name stands above it."""
    sidecar = _sidecar(folder, folder)

    if VERSION.fullmatch(folder.name):
        model_id = ModelId(folder.parent.name, int(folder.name))
        return ModelFiles(id=model_id, path=folder, sidecar=sidecar)

    return ModelFiles(id=ModelId(folder.name, 1), path=folder, sidecar=sidecar)


def _bare_file(path: Path) -> ModelFiles:
    beside = path.with_suffix(".toml")
    return ModelFiles(
        id=ModelId(path.stem, 1),
        path=path,
        sidecar=beside if beside.is_file() else None,
    )


def _sidecar(path: Path, folder: Path) -> Path | None:
    """The nearest: beside the file, in its folder, in the model's folder above."""
    beside = [] if path.is_dir() else [path.with_suffix(".toml")]
    above = [folder.parent / SIDECAR] if VERSION.fullmatch(folder.name) else []
    places = [*beside, folder / SIDECAR, *above]
    return next((place for place in places if place.is_file()), None)


def _model_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and _is_model_file(path):
            yield path


def _holds_only_versions(folder: Path) -> bool:
    """Whether `folder` is one model's: TensorFlow Serving's `model_base_path`."""
    entries = [each for each in folder.iterdir() if not each.name.startswith(".")]
    versions = [each for each in entries if VERSION.fullmatch(each.name)]
    others = [each for each in entries if each not in versions and each.name != SIDECAR]
    return bool(versions) and not others


def _is_saved_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in SAVED_MODEL)


def _is_model_file(path: Path) -> bool:
    """By suffix; a file with another one is a model if it begins as HDF5 does."""
    if not path.is_file():
        return False

    if path.suffix.lower() in SUFFIXES:
        return True

    with path.open("rb") as file:
        return file.read(len(_HDF5)) == _HDF5
