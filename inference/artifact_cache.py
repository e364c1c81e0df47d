"""The folder of artifacts, each under a hash of everything that shapes it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from inference.artifact import FORMAT, Artifact, DamagedArtifact, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

SHAPING_PACKAGES = ("tensorflow", "keras", "tf_keras", "h5py")
_BLOCK = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDigest:
    """A source's content: `sha256` over names and bytes of its files, their size."""

    sha256: str
    nbytes: int


class ArtifactCache:
    """Artifacts by key. Several processes may use one folder at once.

    An artifact is written under a temporary name and renamed, so that a folder with a
    key for its name is whole.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, key: str) -> tuple[Artifact, Manifest] | None:
        """The artifact under `key`, or `None`; a damaged one is removed."""
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
        """An empty folder on the cache's own file system, removed afterwards."""
        self.folder.mkdir(parents=True, exist_ok=True)

        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".new-") as name:
            folder = Path(name, "artifact")
            folder.mkdir()
            yield folder

    def publish(self, folder: Path, key: str, manifest: Manifest) -> Artifact:
        """Make the artifact in `folder` the one under `key`, in one step."""
        Artifact(folder).manifest.write_text(manifest.model_dump_json(indent=2))
        published = self.folder / key

        try:
            os.rename(folder, published)
        except OSError:
            # Another process was first; its artifact is of the same inputs.
            if not published.is_dir():
                raise

        return Artifact(published)

    @contextmanager
    def try_lock(self, key: str) -> Iterator[bool]:
        """Whether this process may compile `key` now; nobody else may meanwhile."""
        self.folder.mkdir(parents=True, exist_ok=True)

        with open(self.folder / f".{key}.lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True


def digest_source(path: Path) -> SourceDigest:
    """Hash a model: a file and what may belong to it, or all files of a folder.

    Blocks for as long as reading the files takes. Raises `OSError`.
    """
    digest = hashlib.sha256()
    nbytes = 0

    for name, file in _files(path):
        size = file.stat().st_size
        digest.update(f"{name}\0{size}\0".encode())
        nbytes += size

        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)

    return SourceDigest(sha256=digest.hexdigest(), nbytes=nbytes)


def artifact_key(source: SourceDigest, shaping: str) -> str:
    """The key of the artifact of `source` with a sidecar's `shaping` text."""
    parts = [str(FORMAT), source.sha256, shaping]
    parts += [f"{package} {version(package)}" for package in SHAPING_PACKAGES]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file() and file.name != "model.toml":
                yield file.relative_to(path).as_posix(), file

        return

    yield path.suffix, path
    beside = path.with_suffix(".json")

    if beside.is_file():
        yield "architecture.json", beside
