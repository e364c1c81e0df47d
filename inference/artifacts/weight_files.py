"""An artifact's files of weights: equal values once, large ones in their own files.

`weights/` has a file for each large value, named by its SHA-256; the others lie in
`weights.bin`, each at the start of a page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from inference.artifacts.mapping import map_file
from inference.dtypes import numpy_dtype

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
