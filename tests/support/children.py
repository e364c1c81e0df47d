"""Programs in place of the compiler's child process."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inference.artifacts.cache import artifact_key
from inference.permissions import Permissions
from inference.repository.digest import digest_source
from inference.repository.sidecar import read_sidecar

if TYPE_CHECKING:
    import pytest

    from inference.artifacts.artifact import Artifact
    from inference.artifacts.cache import ArtifactCache
    from inference.repository.scan import ModelFiles


BEGIN = """\
#!/bin/sh
cat > /dev/null
echo $$ >> {folder}/pids
wait_for_gate() {{
    until [ -e {folder}/gate ]; do sleep 0.02; done
}}
echo '{{"stage": "reading"}}'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A shell script that runs in the compiler's place.

    It notes its process' number, says that it is reading, and goes on with what it is
    given; `open_gate` lets it past the word `wait_for_gate`.
    """

    folder: Path

    def install(self, monkeypatch: pytest.MonkeyPatch, then: str) -> None:
        script = self.folder / "python"
        script.write_text(f"{BEGIN.format(folder=self.folder)}{then}\n")
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))

    def open_gate(self) -> None:
        (self.folder / "gate").touch()

    @property
    def pids(self) -> list[int]:
        """The processes that were started, in their order."""
        path = self.folder / "pids"
        return [int(word) for word in path.read_text().split()] if path.exists() else []


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False

    return True


def key_of(files: ModelFiles) -> str:
    """Return the cache's key of a model's artifact."""
    shaping = read_sidecar(files.sidecar).shaping() + Permissions().shaping()
    return artifact_key(digest_source(files.path), shaping)


def put(cache: ArtifactCache, files: ModelFiles, artifact: Artifact) -> Artifact:
    """Give the cache an artifact compiled before; return its own copy."""
    with cache.scratch() as folder:
        shutil.copytree(artifact.folder, folder, dirs_exist_ok=True)
        return cache.publish(folder, key_of(files), artifact.read_manifest())


def install_copy(
    folder: Path, monkeypatch: pytest.MonkeyPatch, artifact: Artifact
) -> None:
    """Have a child give `artifact` for every model, without TensorFlow's start."""
    install_greedy(folder, monkeypatch, "copy", artifact.folder)


GREEDY = Path(__file__).with_name("greedy.py")
PYTHON = sys.executable


def install_greedy(
    folder: Path, monkeypatch: pytest.MonkeyPatch, what: str, argument: object = ""
) -> None:
    """Have `greedy.py` run in the compiler's place, equally confined."""
    script = folder / "python"
    script.write_text(f'#!/bin/sh\nexec {PYTHON} -P {GREEDY} {what} "{argument}"\n')
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
