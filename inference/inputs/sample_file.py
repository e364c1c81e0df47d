"""The sample file that a sidecar may name: `sample = "sample.npz"`."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

import numpy as np

from inference.errors import InvalidSidecar
from inference.repository.beside import path_beside

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from inference.types import Array

MAX_BYTES = 64 * 2**20
MAX_ARRAYS = 1000
_SUFFIX = ".npy"
_HOW = "Write it with numpy.savez('{}', name=array, …)."


def sample_path(sidecar: Path, name: str, follow: Iterable[Path] = ()) -> Path:
    """Return the path of the sample, in the folder of `sidecar` or below.

    Symlinks may lead into the folders of `follow` as well. Raises `InvalidSidecar` if
    it is elsewhere or missing.
    """
    cure = f"{_HOW.format(name)} A row or two are enough."
    return path_beside(sidecar, "sample", name, follow, max_bytes=MAX_BYTES, cure=cure)


def read_sample(path: Path) -> dict[str, Array]:
    """Read the arrays of an `.npz` file by name. Raises `InvalidSidecar`.

    Nothing is unpickled, and at most `MAX_BYTES` are read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = _bounded(archive.infolist(), path.name)
            arrays = {each.filename: _read(archive.read(each)) for each in members}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, MemoryError) as exc:
        raise _unreadable(path.name, str(exc)) from exc
    except (NotImplementedError, RuntimeError) as exc:
        # A compression that Python doesn't know, or a password.
        raise _unreadable(path.name, str(exc)) from exc

    return {name.removesuffix(_SUFFIX): array for name, array in arrays.items()}


def _bounded(members: list[zipfile.ZipInfo], name: str) -> list[zipfile.ZipInfo]:
    total = sum(each.file_size for each in members)

    if len(members) > MAX_ARRAYS or total > MAX_BYTES:
        raise InvalidSidecar(
            f"the sample '{name}' has {len(members):,} arrays of {total:,} bytes; keep "
            f"at most {MAX_ARRAYS:,} of {MAX_BYTES:,} bytes. A row or two are enough."
        )

    return members


def _read(content: bytes) -> Array:
    array = np.load(io.BytesIO(content), allow_pickle=False)

    if not isinstance(array, np.ndarray):
        raise ValueError("an archive in the archive")

    return array


def _unreadable(name: str, reason: str) -> InvalidSidecar:
    cause = reason.splitlines()[0].rstrip(".") if reason else "it is damaged"
    texts = " Give texts as an array of dtype 'S' or 'U'." if "pickle" in cause else ""
    return InvalidSidecar(
        f"the sample '{name}' can't be read: {cause}. {_HOW.format(name)}{texts}"
    )
