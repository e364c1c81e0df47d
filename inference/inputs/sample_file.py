"""The sample file that a sidecar may name: `sample = "sample.npz"`."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inference.errors import InvalidSidecar

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    folder = sidecar.parent
    path = folder / name

    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise InvalidSidecar(
            f"'sample' names '{name}', which isn't in the sidecar's folder. Put the "
            "file there, and name it without a path."
        )

    try:
        real = Path(os.path.realpath(path, strict=True))
    except (OSError, ValueError):
        raise InvalidSidecar(
            f"'sample' names '{name}', which isn't there. {_HOW.format(name)}"
        ) from None

    roots = [Path(os.path.realpath(each)) for each in (folder, *follow)]

    if not any(real.is_relative_to(root) for root in roots):
        raise InvalidSidecar(
            f"'sample' names '{name}', a link out of the sidecar's folder, which isn't "
            "followed. Put the file itself there."
        )

    if not real.is_file() or real.stat().st_size > MAX_BYTES:
        raise InvalidSidecar(
            f"'sample' names '{name}', which isn't a file of at most {MAX_BYTES:,} "
            "bytes. A row or two are enough."
        )

    return path


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
