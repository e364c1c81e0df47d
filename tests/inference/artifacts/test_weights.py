"""Weights in an artifact's files, and the files in a cache: each value once."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import shutil
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import pytest

from inference.artifacts.artifact import Artifact, DamagedArtifact
from inference.artifacts.cache import ArtifactCache
from inference.artifacts.weights import OWN_FILE, PAGE, Weight, map_weights
from inference.backend import tf, tf1
from inference.compiler.weights import WeightWriter, externalize
from inference.runtime.servable import Servable
from tests.support.graphs import compile_graph, floats, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from inference.types import Array


def disk_bytes(folder: Path) -> int:
    """Return the bytes of the files in a folder, linked ones counted once."""
    found = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum({each.st_ino: each.st_size for each in found}.values())


def written(folder: Path, *values: Array, owned: Collection[str] = ()) -> list[Weight]:
    """Write `values` as v0, v1 … to the artifact in `folder`; return their places."""
    named = {f"v{number}": value for number, value in enumerate(values)}
    large = externalize(tf1.GraphDef(), named, written=owned).large
    writer = WeightWriter(Artifact(folder))
    return [writer.write(large[name]) for name in named]


def test_each_weight_begins_on_a_page(tmp_path: Path) -> None:
    values = floats(1500), floats(3, 1024), floats(3, 1024).astype(ml_dtypes.bfloat16)
    weights = written(tmp_path, *values)

    content = (tmp_path / "weights.bin").read_bytes()
    assert [weight.offset for weight in weights] == [0, 2 * PAGE, 5 * PAGE]
    assert [weight.dtype for weight in weights] == ["float32", "float32", "bfloat16"]
    assert [weight.shape for weight in weights] == [(1500,), (3, 1024), (3, 1024)]

    for weight, value in zip(weights, values, strict=True):
        assert weight.offset is not None
        end = weight.offset + weight.nbytes
        assert content[weight.offset : end] == value.tobytes()


def test_a_large_weight_has_a_file_named_by_its_content(tmp_path: Path) -> None:
    values = floats(OWN_FILE // 4), floats(OWN_FILE // 4 - 1)
    large, small = written(tmp_path, *values)

    digest = hashlib.sha256(values[0].tobytes()).hexdigest()
    assert (large.sha256, large.offset, small.offset) == (digest, None, 0)
    assert (tmp_path / "weights" / digest).read_bytes() == values[0].tobytes()
    assert (tmp_path / "weights.bin").read_bytes() == values[1].tobytes()


@pytest.mark.parametrize("size", [2048, OWN_FILE], ids=["small", "large"])
def test_equal_bytes_are_stored_once(tmp_path: Path, size: int) -> None:
    """A writable value isn't shared within its artifact."""
    value = floats(size)
    square = value.reshape(-1, 64)
    weights = written(tmp_path, value, value.copy(), square, value.view("int32"))

    assert [weight.feed for weight in weights] == [
        f"tandem/weight_{number}" for number in (0, 0, 1, 2)
    ]
    assert {(weight.sha256, weight.offset) for weight in weights} == {
        (weights[0].sha256, weights[0].offset)
    }
    assert disk_bytes(tmp_path) == value.nbytes


def test_writable_weights_are_mapped_separately(tmp_path: Path) -> None:
    small = written(tmp_path, *(floats(2048) for _ in "abc"), owned={"v0", "v1"})
    assert len({weight.feed for weight in small}) == 3
    assert [weight.offset for weight in small] == [0, 2 * PAGE, 4 * PAGE]

    large = written(tmp_path, *(floats(OWN_FILE) for _ in "ab"), owned={"v0", "v1"})
    one, other = map_weights(tmp_path, large).values()
    one[:] = 0.0
    np.testing.assert_array_equal(other, floats(OWN_FILE))
    assert disk_bytes(tmp_path) == one.nbytes


def test_a_transposed_weight_is_written_in_its_own_order(tmp_path: Path) -> None:
    value = floats(64, 32).T
    weights = written(tmp_path, value)

    assert weights[0].shape == (32, 64)
    assert (tmp_path / "weights.bin").read_bytes() == value.tobytes()


def test_model_without_weights_has_an_empty_file(tmp_path: Path) -> None:
    assert written(tmp_path) == []
    assert (tmp_path / "weights.bin").read_bytes() == b""
    assert map_weights(tmp_path, []) == {}


def test_many_weights_leave_half_of_the_descriptors_to_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server has about a thousand."""
    weights = written(tmp_path, *(floats(OWN_FILE) + number for number in range(20)))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (10, 10))
    before = len(os.listdir("/dev/fd"))
    mapped = map_weights(tmp_path, weights)

    assert len(mapped) == 20
    assert len(os.listdir("/dev/fd")) <= before + 5

    del mapped
    assert len(os.listdir("/dev/fd")) == before


BACKBONE = floats(200, 200)


def compiled(folder: Path, head: float, kernel: Array = BACKBONE) -> Artifact:
    """A model of `kernel` and a head of its own."""

    def build() -> None:
        hidden = tf.nn.relu(tf.matmul(rows("x", len(kernel)), kernel))
        tf.matmul(hidden, np.full((kernel.shape[1], 2), head, "f"), name="y")

    folder.mkdir()
    return compile_graph(folder, build)


def publish(cache: ArtifactCache, made: Artifact, key: str) -> Artifact:
    with cache.scratch() as folder:
        shutil.copytree(made.folder, folder, dirs_exist_ok=True)
        return cache.publish(folder, key, made.read_manifest())


def answers(artifact: Artifact) -> Array:
    with Servable(artifact) as servable:
        return servable.run("serving_default", {"x": np.ones((1, 200), "f")})["y"]


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> list[Artifact]:
    """Compile two versions with a common backbone."""
    folder = tmp_path_factory.mktemp("versions")
    return [compiled(folder / str(head), head) for head in (1.0, 2.0)]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[1:]), id="cut"),
        pytest.param(lambda path: path.unlink(), id="gone"),
    ],
)
def test_damaged_large_weight_is_detected(
    tmp_path: Path, versions: list[Artifact], damage: Callable[[Path], object]
) -> None:
    copy = Artifact(shutil.copytree(versions[0].folder, tmp_path / "copy"))
    [path] = copy.large_weights.iterdir()
    damage(path)

    with pytest.raises(DamagedArtifact, match=str(copy.folder)):
        Servable(copy)


def test_versions_share_equal_weights(tmp_path: Path, versions: list[Artifact]) -> None:
    cache = ArtifactCache(tmp_path / "cache")
    first, second = (publish(cache, each, each.folder.parent.name) for each in versions)
    assert BACKBONE.nbytes < disk_bytes(cache.folder) < 1.5 * BACKBONE.nbytes

    np.testing.assert_allclose(answers(second), 2 * answers(first), rtol=1e-5)
    first.discard()
    assert cache.find(second.folder.name) is not None
    np.testing.assert_allclose(answers(second), answers(versions[1]), rtol=1e-5)
    second.discard()
    assert disk_bytes(cache.folder) == 0, "no value is left without an artifact"


def test_damaged_file_is_never_shared(tmp_path: Path, versions: list[Artifact]) -> None:
    """The compiler's child of another model may have written one."""
    cache = ArtifactCache(tmp_path / "cache")
    [path] = publish(cache, versions[0], "first").large_weights.iterdir()
    path.write_bytes(bytes(BACKBONE.nbytes))
    second = publish(cache, versions[1], "second")

    assert not path.samefile(second.large_weights / path.name)
    np.testing.assert_allclose(answers(second), answers(versions[1]), rtol=1e-5)


def test_symlink_is_never_shared(tmp_path: Path, versions: list[Artifact]) -> None:
    cache = ArtifactCache(tmp_path / "cache")
    [path] = publish(cache, versions[0], "first").large_weights.iterdir()
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")

    [own] = publish(cache, versions[1], "second").large_weights.iterdir()
    assert not own.samefile(tmp_path / "elsewhere")


def test_artifacts_keep_their_own_files_without_links(
    tmp_path: Path, versions: list[Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    cache = ArtifactCache(tmp_path / "cache")

    for each in versions:
        published = publish(cache, each, each.folder.parent.name)
        assert [path.stat().st_nlink for path in published.large_weights.iterdir()] == [
            1
        ]
        assert published.read_manifest() == each.read_manifest()


def test_layers_of_equal_weights_share_memory(tmp_path: Path) -> None:
    """In the graph too, one variable serves all layers."""

    def build() -> None:
        x = rows("x", 200)

        for layer in range(4):
            x = tf.tanh(tf.matmul(x, BACKBONE.copy(), name=f"layer_{layer}"))

        tf.identity(x, name="y")

    artifact = compile_graph(tmp_path, build)
    assert len(artifact.read_manifest().weights) == 1
    assert disk_bytes(artifact.folder) < 1.2 * BACKBONE.nbytes
