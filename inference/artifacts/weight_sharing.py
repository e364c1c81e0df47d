"""Hard links between artifacts of a cache that have the same large values.

Each artifact stays complete: removing or copying one affects no other.
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
