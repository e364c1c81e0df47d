"""Weights in sealed memory: checked when they are read, and out of anybody's reach."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference.artifacts.artifact import Artifact, DamagedArtifact
from inference.artifacts.builder import ArtifactBuilder
from inference.artifacts.cache import ArtifactCache
from inference.artifacts.sealed import found_elsewhere
from inference.artifacts.weights import memory_names
from inference.backend import tf
from inference.limits import Limits
from inference.repository.scan import ModelFiles
from inference.runtime.loader import Loader
from inference.runtime.servable import Servable
from inference.types import ModelId
from tests.support.children import install_copy, put
from tests.support.graphs import compile_graph, floats, rows, write_graph

if TYPE_CHECKING:
    from collections.abc import Callable

LARGE, SMALL = floats(200, 200), floats(200, 40)
READER = """
import sys
from pathlib import Path
from inference.artifacts.artifact import Artifact

artifact = Artifact(Path(sys.argv[1]))
mapped = artifact.map_weights(artifact.read_manifest())
print("mapped", flush=True)
sys.stdin.readline()
print(sum(int(value.view("u1").sum()) for value in mapped.values()), flush=True)
"""


def build() -> None:
    hidden = tf.nn.relu(tf.matmul(rows("x", 200), LARGE))
    tf.matmul(hidden, SMALL, name="y")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return compile_graph(tmp_path_factory.mktemp("made"), build)


@pytest.fixture
def artifact(tmp_path: Path, made: Artifact) -> Artifact:
    return Artifact(shutil.copytree(made.folder, tmp_path / "artifact"))


def flip(path: Path) -> None:
    """Flip a bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def cut(path: Path) -> None:
    os.truncate(path, 0)


def only_large(artifact: Artifact) -> Path:
    [path] = artifact.large_weights.iterdir()
    return path


def lie(artifact: Artifact, **changes: Any) -> None:
    """Change values of the manifest, which stays valid JSON."""
    stored = json.loads(artifact.manifest.read_bytes())
    stored["manifest"] |= changes
    artifact.manifest.write_text(json.dumps(stored))


def wrong_output(artifact: Artifact) -> None:
    stored = json.loads(artifact.manifest.read_bytes())
    signatures = stored["manifest"]["signatures"]
    signatures["serving_default"]["outputs"]["y"]["tensor"] = "x:0"
    lie(artifact, signatures=signatures)


DAMAGES = {
    "a bit of a large weight": lambda each: flip(only_large(each)),
    "a bit of the small ones": lambda each: flip(each.weights),
    "a bit of the graph": lambda each: flip(each.graph),
    "a large weight cut short": lambda each: cut(only_large(each)),
    "the small ones cut short": lambda each: cut(each.weights),
    "the graph cut short": lambda each: cut(each.graph),
    "no graph": lambda each: each.graph.unlink(),
    "another tensor in the manifest": wrong_output,
    "another fact in the manifest": lambda each: lie(each, control_flow=True),
    "an empty manifest": lambda each: each.manifest.write_text("{}"),
    "no manifest": lambda each: each.manifest.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_damage_is_found_before_anything_is_served(
    artifact: Artifact, damage: Callable[[Artifact], object]
) -> None:
    damage(artifact)

    with pytest.raises(DamagedArtifact, match=str(artifact.folder)):
        Servable(artifact)


async def test_damaged_artifact_is_rebuilt(
    tmp_path: Path, made: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_graph(tmp_path / "dense.pb", build)
    files = ModelFiles(id=ModelId("dense", 1), path=path)
    cache = ArtifactCache(tmp_path / "cache")
    artifact = put(cache, files, made)
    loader = Loader(ArtifactBuilder(cache, timeout_seconds=100), Limits())
    prepared = await loader.prepare(files, lambda _: None)
    flip(artifact.weights)
    install_copy(tmp_path, monkeypatch, made)

    loaded = await loader.open(prepared)

    x = floats(2, 200)
    y = loaded.servable.run("serving_default", {"x": x})["y"]
    loaded.servable.close()
    wanted = np.maximum(x @ LARGE, 0) @ SMALL
    np.testing.assert_allclose(y, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.skipif(sys.platform != "linux", reason="memory files are Linux's")
def test_a_file_cut_short_while_it_is_mapped_does_no_harm(artifact: Artifact) -> None:
    wanted = sum(int(each.view("u1").sum()) for each in (LARGE, SMALL))

    # In a process of its own, as a mapping that lost its file would kill it.
    with reader(artifact) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "mapped\n"
        cut(only_large(artifact))
        cut(artifact.weights)
        output, _ = process.communicate("go on\n")

    assert process.returncode == 0
    assert int(output) == wanted


@pytest.mark.skipif(sys.platform != "linux", reason="memory files are Linux's")
def test_processes_share_the_memory_of_equal_weights(
    artifact: Artifact, made: Artifact
) -> None:
    with reader(artifact) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "mapped\n"
        names = memory_names(artifact.read_manifest().weights)
        theirs = {name: inode(found_elsewhere()[name]) for name in names}
        mapped = made.map_weights(made.read_manifest())
        ours = {name: inode(path) for name, path in own_memory().items()}
        process.communicate("go on\n")

    assert len(mapped) == len(names) == 2
    assert theirs.items() <= ours.items()


def reader(artifact: Artifact) -> subprocess.Popen[str]:
    """Start a process that maps an artifact's weights, waits for a line, reads them."""
    return subprocess.Popen(
        [sys.executable, "-c", READER, str(artifact.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def own_memory() -> dict[str, Path]:
    """Return this process' memory files by name."""
    targets = {path: os.readlink(path) for path in list_open()}
    prefix = "/memfd:tandem-"
    return {
        target.removeprefix(prefix).split(" ")[0]: path
        for path, target in targets.items()
        if target.startswith(prefix)
    }


def list_open() -> list[Path]:
    return [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]


def inode(path: Path) -> int:
    return path.stat().st_ino
