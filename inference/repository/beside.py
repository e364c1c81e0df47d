"""Files that a sidecar names, in its folder or below."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from inference.errors import InvalidSidecar

if TYPE_CHECKING:
    from collections.abc import Iterable


KEYS = ("classes", "sample")
"""Keys of a sidecar that name a file."""

_MAX_SIDECAR_BYTES = 1 << 20


def named_files(sidecar: Path) -> list[Path]:
    """Return the files that a sidecar names and that are there; cheap.

    Nothing is checked: `path_beside` does that. Raise `OSError`.
    """
    with sidecar.open("rb") as file:
        text = file.read(_MAX_SIDECAR_BYTES)

    # Each sidecar is looked at every few seconds.
    if not any(key.encode() in text for key in KEYS):
        return []

    try:
        table = tomllib.loads(text.decode())
    except ValueError:
        return []

    names = (table.get(key) for key in KEYS)
    paths = [sidecar.parent / name for name in names if isinstance(name, str)]
    return [path for path in paths if path.is_file()]


def path_beside(
    sidecar: Path,
    key: str,
    name: str,
    follow: Iterable[Path] = (),
    *,
    max_bytes: int,
    cure: str,
) -> Path:
    """Return the path of the file that the sidecar's `key` names.

    Symlinks may lead into the folders of `follow` as well. Raise `InvalidSidecar` if it
    is elsewhere, missing (`cure` says how to make it) or larger than `max_bytes`.
    """
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise InvalidSidecar(
            f"'{key}' names '{name}', which isn't in the sidecar's folder. Put the "
            "file there, and name it without a path."
        )

    path = sidecar.parent / name
    real = _existing(path)

    if real is None:
        raise InvalidSidecar(f"'{key}' names '{name}', which isn't there. {cure}")

    roots = [Path(os.path.realpath(each)) for each in (sidecar.parent, *follow)]

    if not any(real.is_relative_to(root) for root in roots):
        raise InvalidSidecar(
            f"'{key}' names '{name}', a link out of the sidecar's folder, which isn't "
            "followed. Put the file itself there."
        )

    if not real.is_file() or real.stat().st_size > max_bytes:
        raise InvalidSidecar(
            f"'{key}' names '{name}', which isn't a file of at most {max_bytes:,} "
            f"bytes. {cure}"
        )

    return path


def _existing(path: Path) -> Path | None:
    """Return the path without symlinks, if it leads to something."""
    try:
        return Path(os.path.realpath(path, strict=True))
    except (OSError, ValueError):
        return None
