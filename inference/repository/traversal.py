"""Safe traversal of folders: never out of them, in circles or without end."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_DEPTH = 32
"""Levels of folders below a model's own."""


class InvalidEntry(Exception):
    """An entry of a repository can't be served; the text says what and why."""


class LimitReached(Exception):
    """As many entries have been visited as may be."""


class SafeTraversal:
    """Traversal of `folders`, which symlinks may not leave, within `limit` entries.

    A folder itself may be reached by a symlink. Links may lead into the folders of
    `follow` as well, which may be missing. Raises `OSError` if one of `folders` is.
    """

    def __init__(self, *folders: Path, limit: int, follow: Iterable[Path] = ()) -> None:
        self._inside = [_real(folder) for folder in folders]
        self._inside += [Path(os.path.realpath(folder)) for folder in follow]
        self._limit = limit
        self._left = limit

    def count(self, entries: int) -> None:
        """Count visited entries. Raises `LimitReached`."""
        if entries > self._left:
            raise LimitReached(f"more than {self._limit} entries")

        self._left -= entries

    def children(self, folder: Path) -> list[Path]:
        """List the visible entries of `folder` by name.

        Raises `LimitReached`, `OSError`.
        """
        names = [entry.name for entry in self._entries(folder)]
        return [folder / name for name in names if not name.startswith(".")]

    def check(self, path: Path) -> None:
        """Raise `InvalidEntry` for a symlink that is broken, circular or leads out.

        The folders above `path` must have been checked.
        """
        if path.is_symlink():
            self._resolved(path)

    def check_tree(self, folder: Path) -> None:
        """Check everything below `folder`, through symlinks too.

        Raises `InvalidEntry`, `LimitReached`, `OSError`.
        """
        self._check_below(folder, (self._resolved(folder),))

    def _check_below(self, folder: Path, above: tuple[Path, ...]) -> None:
        """Check recursively; `above` are the real folders on the way to `folder`."""
        for entry in self._entries(folder):
            real = above[-1] / entry.name

            if entry.is_symlink():
                real = self._resolved(folder / entry.name)

            if entry.is_dir():
                if real in above:
                    raise InvalidEntry(
                        f"{entry.name} is a link in a circle; remove it."
                    )

                if len(above) == MAX_DEPTH:
                    raise InvalidEntry(f"{entry.name} lies more than {MAX_DEPTH} deep.")

                self._check_below(folder / entry.name, (*above, real))

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        with os.scandir(folder) as found:
            entries = list(islice(found, self._left + 1))

        self.count(len(entries))
        return sorted(entries, key=lambda entry: entry.name)

    def _resolved(self, path: Path) -> Path:
        try:
            real = _real(path)
        except FileNotFoundError:
            raise InvalidEntry(
                f"{path.name} is a link to nothing; remove it."
            ) from None

        if not any(real.is_relative_to(inside) for inside in self._inside):
            raise InvalidEntry(
                f"{path.name} is a link out of the repository, which isn't followed; "
                "put the files themselves there, or name the folder that it leads into "
                "with --follow-links-to."
            )

        return real


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path, strict=True))
