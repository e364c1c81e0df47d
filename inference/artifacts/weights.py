"""An artifact's files of weights: equal values once, large ones in their own files.

`weights/` has a file for each large value, named by its SHA-256; the others lie in
`weights.bin`, each at the start of a page. Artifacts of one cache share large values by
hard links; removing or copying one artifact affects no other.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from inference.artifacts.mapping import map_file
from inference.dtypes import numpy_dtype
from inference.repository.digest import digest_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
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


def map_weights(folder: Path, weights: Iterable[Weight]) -> Iterator[tuple[str, Array]]:
    """Yield each weight's feed and value, mapped copy-on-write from `folder`."""
    packed = None

    for weight in weights:
        if weight.offset is None:
            # Equal weights have separate mappings, as a model may write to one.
            mapped = map_file(folder / weight.file)
        else:
            packed = map_file(folder / PACKED) if packed is None else packed
            mapped = packed[weight.offset : weight.offset + weight.nbytes]

        yield weight.feed, mapped.view(numpy_dtype(weight.dtype)).reshape(weight.shape)


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
