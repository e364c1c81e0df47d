"""The artifacts in a cache's folder: their sizes, their last use, and their removal.

Several servers may share a folder. One that may load an artifact holds a shared lock on
its manifest; it isn't removed meanwhile. The folder's time is that of the last use.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import weakref
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inference.artifacts.artifact import Artifact, DamagedArtifact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedArtifact:
    """An artifact of `nbytes`, compiled from `model`, such as "ranking/4".

    `last_used` is in seconds since the epoch; `in_use` says that a server may load it.
    Of a damaged one, `model` and `source` are empty.
    """

    folder: Path
    model: str
    source: str
    nbytes: int
    last_used: float
    in_use: bool


class Hold:
    """A hold on an artifact, which keeps it from removal while the object lives."""

    def __init__(self, descriptor: int) -> None:
        weakref.finalize(self, os.close, descriptor).atexit = False


def hold(artifact: Artifact) -> Hold | None:
    """Hold an artifact and note its use; `None` if it is gone or can't be locked."""
    with suppress(OSError):
        held = Hold(_locked(artifact.manifest, fcntl.LOCK_SH))

        # A cache that is only read has no times.
        with suppress(OSError):
            os.utime(artifact.folder)

        return held

    return None


def inventory(cache: Path) -> list[CachedArtifact]:
    """List the artifacts in a folder, the least recently used first.

    Blocks. Raises `OSError` if the folder can't be read.
    """
    found = []

    for folder in cache.iterdir() if cache.exists() else ():
        # What is being made, or removed, begins with a dot.
        if folder.name.startswith(".") or not (folder / "manifest.json").exists():
            continue

        with suppress(FileNotFoundError):
            found.append(_describe(Artifact(folder)))

    return sorted(found, key=lambda each: (each.last_used, each.folder))


def disk_bytes(artifacts: Iterable[CachedArtifact]) -> int:
    """Return the bytes of all files, those that artifacts share counted once."""
    sizes = {
        (status.st_dev, status.st_ino): status.st_size
        for each in artifacts
        for status in _statuses(each.folder)
    }
    return sum(sizes.values())


def prune(
    cache: Path,
    *,
    now: float,
    unused_seconds: float | None = None,
    max_bytes: int | None = None,
    dry: bool = False,
) -> list[CachedArtifact]:
    """Remove artifacts that no server holds, least recently used first; return them.

    Those unused for `unused_seconds` go, and then as many as exceed `max_bytes`. With
    `dry` they are only returned. Blocks. Raises `OSError`.
    """
    kept = inventory(cache)
    removed = []

    for each in list(kept):
        old = unused_seconds is not None and now - each.last_used >= unused_seconds
        over = max_bytes is not None and disk_bytes(kept) > max_bytes

        if (old or over) and not each.in_use and (dry or _remove(each)):
            kept.remove(each)
            removed.append(each)

    return removed


def _describe(artifact: Artifact) -> CachedArtifact:
    try:
        manifest = artifact.read_manifest()
    except (DamagedArtifact, OSError):
        manifest = None

    return CachedArtifact(
        folder=artifact.folder,
        model=manifest.model if manifest else "",
        source=manifest.source if manifest else "",
        nbytes=sum(status.st_size for status in _statuses(artifact.folder)),
        last_used=artifact.folder.stat().st_mtime,
        in_use=_is_held(artifact),
    )


def _statuses(folder: Path) -> list[os.stat_result]:
    return [path.stat() for path in folder.rglob("*") if path.is_file()]


def _is_held(artifact: Artifact) -> bool:
    try:
        with _only_user(artifact):
            return False
    except OSError:
        # Without locks nobody knows.
        return True


def _remove(each: CachedArtifact) -> bool:
    """Remove an artifact, unless a server has come to hold it; return if it is gone."""
    aside = each.folder.with_name(f".new-{secrets.token_hex(8)}")

    try:
        with _only_user(Artifact(each.folder)):
            # At once, so that no server finds half of it; what a crash leaves of it is
            # swept by the next server.
            each.folder.rename(aside)
    except OSError:
        return False

    shutil.rmtree(aside, ignore_errors=True)
    return True


@contextmanager
def _only_user(artifact: Artifact) -> Iterator[None]:
    """Hold the artifact alone. Raises `OSError` if another process holds it."""
    descriptor = _locked(artifact.manifest, fcntl.LOCK_EX)

    try:
        yield
    finally:
        os.close(descriptor)


def _locked(path: Path, kind: int) -> int:
    """Open and lock a file; return its descriptor. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        # It may have been removed in between, and another put in its place.
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor

        raise FileNotFoundError(path)
    except OSError:
        os.close(descriptor)
        raise
