"""One file for a value that several artifacts of a cache have, by hard links.

Each artifact stays whole by itself: whoever removes or copies one needs no other.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from inference.artifacts.weight_files import LARGE
from inference.repository.digest import digest_file

if TYPE_CHECKING:
    from pathlib import Path


def share_weights(folder: Path, cache: Path) -> None:
    """Give the artifact in `folder` the files that others in `cache` have already.

    Only what has the digest that it is named by is taken: the compilers' children wrote
    the names, and a file may be damaged since. Where links aren't possible, every
    artifact keeps its own.
    """
    known = _known(cache)

    for own in sorted((folder / LARGE).glob("*")):
        for other in known.get(own.name, ()):
            if _is_whole(other) and _link(other, own):
                break


def _known(cache: Path) -> dict[str, list[Path]]:
    """The files of each name in the artifacts of `cache`."""
    found: dict[str, list[Path]] = {}

    for path in cache.glob(f"[!.]*/{LARGE}/*"):
        found.setdefault(path.name, []).append(path)

    return found


def _is_whole(path: Path) -> bool:
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
