"""The cache of artifacts, each under a hash of everything that shapes it."""

from __future__ import annotations

import functools
import hashlib
import os
import secrets
import shutil
from contextlib import contextmanager, suppress
from importlib.resources import files
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from inference.artifacts.artifact import FORMAT, Artifact, DamagedArtifact, Manifest
from inference.artifacts.weights import share_weights
from inference.system.file_lock import try_lock
from inference.system.versions import version_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inference.repository.digest import SourceDigest

RULES = (
    "screening/allowed_ops.txt",
    "keras/vocabulary/classes.py",
    "keras/vocabulary/operations.py",
)
SHAPING_PACKAGES = ("tensorflow", "keras", "tf_keras", "h5py")


class CachedRefusal(BaseModel):
    """A cached compile error: its class and text.

    It holds in its own `circumstances` only: the conditions of the error or its text
    besides the artifact's key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    circumstances: str
    error: str
    error_type: str


class ArtifactCache:
    """Artifacts by key. Several processes may use one folder at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, key: str) -> tuple[Artifact, Manifest] | None:
        """Return the artifact under `key`, or `None`; remove a damaged one."""
        artifact = Artifact(self.folder / key)

        if not artifact.folder.is_dir():
            return None

        try:
            return artifact, artifact.read_manifest()
        except DamagedArtifact:
            shutil.rmtree(artifact.folder, ignore_errors=True)
            return None

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Make an empty folder on the cache's file system; remove it afterwards."""
        self.folder.mkdir(parents=True, exist_ok=True)

        with self._locked_name() as place:
            folder = place / "artifact"
            place.mkdir(mode=0o700)
            folder.mkdir()

            try:
                yield folder
            finally:
                shutil.rmtree(place, ignore_errors=True)

    def publish(self, folder: Path, key: str, manifest: Manifest) -> Artifact:
        """Move the artifact in `folder` under `key` atomically.

        Blocks while large weights in common with other artifacts are compared.
        """
        Artifact(folder).write_manifest(manifest)
        share_weights(folder, self.folder)
        published = self.folder / key

        # Renamed when it is complete: a folder named by a key always is.
        try:
            os.rename(folder, published)
        except OSError:
            # Another process was first, with an artifact of the same inputs.
            if not published.is_dir():
                raise

        self._refusal(key).unlink(missing_ok=True)
        return Artifact(published)

    def refusal(self, key: str, circumstances: str) -> CachedRefusal | None:
        """Return the cached compile error of `key`, if there is one."""
        try:
            found = CachedRefusal.model_validate_json(self._refusal(key).read_bytes())
        except (OSError, ValidationError):
            return None

        return found if found.circumstances == circumstances else None

    def refuse(self, folder: Path, key: str, refusal: CachedRefusal) -> None:
        """Cache a compile error atomically; `folder` is the failed artifact's."""
        written = folder / "refusal.json"
        written.write_text(refusal.model_dump_json(indent=2))
        os.replace(written, self._refusal(key))

    @contextmanager
    def try_lock(self, key: str) -> Iterator[bool]:
        """Yield whether this process has the lock to compile `key`."""
        self.folder.mkdir(parents=True, exist_ok=True)

        with try_lock(self.folder / f".{key}.lock") as locked:
            yield locked

    def sweep(self) -> None:
        """Remove the remains of killed processes, but nothing in use."""
        places = [path for path in self.folder.glob(".new-*") if path.is_dir()]
        locks = self.folder.glob(".*.lock")

        for lock in [*(_lock_of(place) for place in places), *locks]:
            # A cache that can't be written to has nothing of ours to be removed.
            with suppress(OSError), try_lock(lock) as locked:
                place = lock.with_suffix("")

                if locked and place in places:
                    shutil.rmtree(place, ignore_errors=True)

    @contextmanager
    def _locked_name(self) -> Iterator[Path]:
        """Yield a folder's name, locked against `sweep`."""
        while True:
            place = self.folder / f".new-{secrets.token_hex(8)}"

            with try_lock(_lock_of(place)) as locked:
                if locked:
                    yield place
                    return

    def _refusal(self, key: str) -> Path:
        return self.folder / f"{key}.refused"


def _lock_of(place: Path) -> Path:
    return place.with_name(f"{place.name}.lock")


def artifact_key(source: SourceDigest, shaping: str) -> str:
    """Return the key of the artifact of `source` with a sidecar's `shaping` text."""
    parts = [str(FORMAT), source.sha256, source.samples, shaping, _rules()]
    parts += [f"{package} {version_of(package)}" for package in SHAPING_PACKAGES]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


@functools.cache
def _rules() -> str:
    """Return a digest of the lists of allowed operations and classes."""
    # Under other lists, an artifact may be unsafe, or a refusal wrong.
    digest = hashlib.sha256()

    for name in RULES:
        digest.update(files("inference.formats").joinpath(name).read_bytes())

    return digest.hexdigest()
