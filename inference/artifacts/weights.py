"""An artifact's files of weights: equal values once, large ones in their own files.

`weights/` has a file for each large value, named by its SHA-256; the others lie in
`weights.bin`, each at the start of a page. Artifacts of one cache share large values by
hard links; removing or copying one artifact affects no other.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from inference.artifacts.sealed import found_elsewhere, map_content, one_reader
from inference.dtypes import numpy_dtype
from inference.repository.digest import digest_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from inference.types import Array

PAGE = 4096
OWN_FILE = 64 * 1024
"""Least bytes of a value that has its own file."""

PACKED, LARGE = "weights.bin", "weights"


class Weight(BaseModel):
    """A variable's value, fed to `feed` on load.

    `offset` is its place in `weights.bin`; `None` if it has its own file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    feed: str
    dtype: str
    shape: tuple[int, ...]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    offset: int | None = None
    nbytes: int

    @property
    def file(self) -> str:
        """Its file in the artifact's folder."""
        return f"{LARGE}/{self.sha256}" if self.offset is None else PACKED


def file_lengths(weights: Iterable[Weight]) -> dict[str, int]:
    """Return the files of `weights` in an artifact's folder, with their lengths."""
    lengths: dict[str, int] = {}

    for weight in weights:
        end = (weight.offset or 0) + weight.nbytes
        lengths[weight.file] = max(end, lengths.get(weight.file, 0))

    return lengths


def map_weights(folder: Path, weights: Sequence[Weight]) -> dict[str, Array]:
    """Return each weight by its feed, mapped copy-on-write from sealed memory.

    Raises `WrongContent` if one isn't what was written, and `OSError`.
    """
    if not weights:
        return {}

    with one_reader(folder):
        mapper = _Mapper(folder, weights)
        return {weight.feed: mapper.map(weight) for weight in weights}


class _Mapper:
    """The mapped files of one artifact."""

    def __init__(self, folder: Path, weights: Sequence[Weight]) -> None:
        self._folder = folder
        self._small = [each for each in weights if each.offset is not None]
        self._elsewhere = found_elsewhere()
        self._packed: Array | None = None

    def map(self, weight: Weight) -> Array:
        content = self._large(weight) if weight.offset is None else self._part(weight)
        return content.view(numpy_dtype(weight.dtype)).reshape(weight.shape)

    def _large(self, weight: Weight) -> Array:
        # Equal weights have separate mappings, as a model may write to one.
        return map_content(
            self._folder / weight.file,
            weight.nbytes,
            name=weight.sha256,
            check=lambda content: _is(content, weight),
            elsewhere=self._elsewhere,
        )

    def _part(self, weight: Weight) -> Array:
        if self._packed is None:
            self._packed = map_content(
                self._folder / PACKED,
                file_lengths(self._small)[PACKED],
                name=packed_name(self._small),
                check=lambda content: all(
                    _is(_slice(content, each), each) for each in self._small
                ),
                elsewhere=self._elsewhere,
            )

        return _slice(self._packed, weight)


def packed_name(weights: Iterable[Weight]) -> str:
    """Return the name in memory of a `weights.bin`: a digest of its parts."""
    parts = sorted({(each.offset or 0, each.sha256) for each in weights})
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def memory_names(weights: Iterable[Weight]) -> list[str]:
    """Return the names in memory of all files of `weights`."""
    small = [each for each in weights if each.offset is not None]
    large = {each.sha256 for each in weights if each.offset is None}
    return sorted(large | ({packed_name(small)} if small else set()))


def _slice(packed: Array, weight: Weight) -> Array:
    assert weight.offset is not None
    return packed[weight.offset : weight.offset + weight.nbytes]


def _is(content: Array, weight: Weight) -> bool:
    return hashlib.sha256(content.data).hexdigest() == weight.sha256


def share_weights(folder: Path, cache: Path) -> None:
    """Replace files of the artifact in `folder` by links to equal ones in `cache`.

    Where links aren't possible, the artifact keeps its own files.
    """
    known = _known(cache)

    for own in sorted((folder / LARGE).glob("*")):
        for other in known.get(own.name, ()):
            # The compiler's child wrote the names, and files may be damaged since.
            if _is_intact(other) and _link(other, own):
                break


def _known(cache: Path) -> dict[str, list[Path]]:
    """Return the files of each name in the artifacts of `cache`."""
    found: dict[str, list[Path]] = {}

    for path in cache.glob(f"[!.]*/{LARGE}/*"):
        found.setdefault(path.name, []).append(path)

    return found


def _is_intact(path: Path) -> bool:
    with suppress(OSError):
        return not path.is_symlink() and digest_file(path) == path.name

    return False


def _link(source: Path, place: Path) -> bool:
    beside = place.with_name(f"{place.name}.link")

    with suppress(OSError):
        os.link(source, beside)
        beside.replace(place)
        return True

    return False
