"""Real inputs beside a model, tried before generated ones."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference.artifacts.builder import ArtifactBuilder
from inference.artifacts.cache import ArtifactCache
from inference.artifacts.sample_digest import with_samples
from inference.backend import tf
from inference.errors import InvalidSidecar
from inference.inputs.given_samples import from_requests, from_sample
from inference.inputs.recorded_requests import read_first
from inference.repository.digest import digest_source
from inference.repository.scan import ModelFiles
from inference.repository.sidecar import read_sidecar
from inference.types import ModelId
from tests.support.graphs import compile_graph, floats, rows, write_graph
from tests.support.specs import signature, spec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from inference.artifacts.artifact import Manifest

    Build = Callable[[], object]

SIDECAR = 'sample = "sample.npz"'


def odd_length() -> None:
    """Takes a length that no generated sample has."""
    tf.reshape(rows("x", None), [-1, 7, 11, 13], name="y")


def odd_word() -> None:
    """Takes texts with a number, which no generated sample has."""
    words = rows("x", dtype="string")
    tf.strings.to_number(tf.strings.substr(words, 20, 2), name="y")


def odd_numbers() -> None:
    """Takes numbers that no generated sample has."""
    places = tf.math.unsorted_segment_sum(tf.ones([40]), tf.range(40), 40)
    tf.gather(places * tf.range(40.0), rows("x", 3, dtype="int64") - 1000, name="y")


WORDS = [f"{'-' * 20}{number}" for number in (17, 18)]

SAMPLES = {
    "one long row": (odd_length, floats(1, 1001)),
    "two long rows": (odd_length, floats(2, 1001).astype("float64")),
    "texts": (odd_word, np.array(WORDS)),
    "bytes": (odd_word, np.array(WORDS).astype("S")),
    "numbers": (odd_numbers, np.array([[1001, 1020, 1039], [1003, 1002, 1001]])),
}


def compiled(folder: Path, build: Build, **arrays: Any) -> Manifest:
    np.savez(folder / "sample.npz", **arrays)
    return compile_graph(folder, build, SIDECAR).read_manifest()


@pytest.mark.parametrize("kind", SAMPLES)
def test_sidecar_sample_is_used_where_generated_ones_fail(
    tmp_path: Path, kind: str
) -> None:
    build, array = SAMPLES[kind]
    manifest = compiled(tmp_path, build, x=array)
    entry = manifest.signatures["serving_default"]

    assert manifest.largest_difference == 0
    assert entry.sample is not None
    assert entry.sample.shapes["x"] == (1, *array.shape[1:])
    assert entry.batchable, entry.batchable_reason


def test_nothing_is_compared_without_a_sample(tmp_path: Path) -> None:
    manifest = compile_graph(tmp_path, odd_length).read_manifest()

    assert manifest.largest_difference is None
    assert "accepted no sample inputs" in manifest.notes[0]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another name": ({"z": floats(1, 1001)}, "has 'z', but .* wants 'x'"),
    "another shape": ({"x": floats(1001)}, r"doesn't fit: .*\[\?, \?\], got \[1001\]"),
    "texts for numbers": ({"x": np.array([["a"]])}, "wants float32, got string"),
    "no rows": ({"x": floats(0, 1001)}, "has no rows"),
    "objects": ({"x": np.array([[None]])}, "can't be read: .*allow_pickle=False"),
    "what the model refuses": ({"x": floats(1, 1000)}, "the model rejects the sample"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_mismatched_sample_is_refused(tmp_path: Path, kind: str) -> None:
    arrays, message = REFUSED[kind]

    with pytest.raises(InvalidSidecar, match=f"^model.toml: .*{message}"):
        compiled(tmp_path, odd_length, **arrays)


@pytest.mark.parametrize(
    "array", [np.array([[1.5]]), np.array([[2**40]]), np.array([[1j]])], ids=str
)
def test_lossy_casts_are_refused(array: Any) -> None:
    one = signature(spec("x", "int32", (None, 1)))

    with pytest.raises(InvalidSidecar, match="doesn't fit: .*wants int32"):
        from_sample({"x": array}, {one.name: one}, "sample.npz")


def test_several_signatures_have_their_own() -> None:
    two = [
        replace(signature(spec("x", shape=(None,))), name=name) for name in ("a", "b")
    ]
    arrays = {"a/x": floats(2), "b/x": floats(3)}
    found = from_sample(arrays, {each.name: each for each in two}, "sample.npz")

    assert [len(each.inputs["x"]) for each in found.values()] == [2, 3]


@pytest.mark.parametrize("kind", ["float32", "int64", "string"])
@pytest.mark.parametrize("count", [1, 3])
def test_joined_rows_differ_and_come_from_the_sample(kind: str, count: int) -> None:
    one = signature(spec("x", kind, (None, 9)))
    plain = np.arange(9 * count).reshape(count, 9)
    array = plain.astype("S" if kind == "string" else kind)
    given = from_sample({"x": array}, {one.name: one}, "sample.npz")[one.name]
    first, second = given.draw(1, 1)["x"], given.draw(2, 2)["x"]

    assert given.rows == count
    assert given.draw(count, 0)["x"].tolist() == array.tolist()
    assert len({str(row) for row in (*first, *second)}) == 3
    assert {*second.ravel().tolist()} <= {*array.ravel().tolist()} or kind == "float32"
    assert second.dtype == given.inputs["x"].dtype


def recorded(folder: Path, *lines: Any) -> Path:
    path = folder / "model.warmup.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts))
    return path


def test_the_first_recorded_request_is_taken(tmp_path: Path) -> None:
    lines = [{"instances": floats(2, 1001).tolist()}, {"instances": [[1.0]]}]
    warmup = recorded(tmp_path, *lines)
    manifest = compile_graph(tmp_path, odd_length, warmup=warmup).read_manifest()

    assert manifest.signatures["serving_default"].batchable
    assert manifest.largest_difference == 0


def dense() -> None:
    tf.matmul(rows("x", 4), floats(4, 2), name="y")


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("no JSON", id="unreadable"),
        pytest.param({"instances": [["a"]]}, id="not of its signature"),
        pytest.param({"signature_name": "other", "instances": [1]}, id="of no one"),
        pytest.param({"instances": []}, id="empty"),
    ],
)
def test_mismatched_recorded_request_is_skipped(tmp_path: Path, line: Any) -> None:
    """It is reported when it is replayed."""
    warmup = recorded(tmp_path, line)
    manifest = compile_graph(tmp_path, dense, warmup=warmup).read_manifest()

    assert manifest.signatures["serving_default"].batchable


def test_requests_go_to_the_signatures_they_name(tmp_path: Path) -> None:
    two = {
        name: replace(signature(spec("x", shape=(None,))), name=name)
        for name in ("a", "b")
    }
    path = recorded(
        tmp_path,
        {"signature_name": "b", "inputs": [1.0]},
        {"inputs": [2.0]},
        {"inputs": [3.0]},
    )
    found = from_requests(read_first(path), two, "a")

    assert {name: given.inputs["x"].tolist() for name, given in found.items()} == {
        "a": [2.0],
        "b": [1.0],
    }


def digest(files: ModelFiles) -> str:
    sidecar = read_sidecar(files.sidecar)
    return with_samples(digest_source(files.path), files, sidecar, ()).samples


def test_samples_are_part_of_the_key(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "model.pb", dense)
    sidecar = tmp_path / "model.toml"
    sidecar.write_text(SIDECAR)
    bare = ModelFiles(id=ModelId("model", 1), path=path)
    both = replace(bare, sidecar=sidecar, warmup=recorded(tmp_path, {"inputs": [1]}))
    np.savez(tmp_path / "sample.npz", x=floats(1, 4))
    seen = [digest(bare), digest(both)]

    recorded(tmp_path, {"inputs": [1]}, {"inputs": [2]})
    assert digest(both) == seen[-1]

    recorded(tmp_path, {"inputs": [3]}, {"inputs": [2]})
    seen.append(digest(both))
    np.savez(tmp_path / "sample.npz", x=floats(2, 4))
    seen.append(digest(both))

    assert seen[0] == ""
    assert len(set(seen)) == len(seen)


async def test_compiler_process_finds_both(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "model.pb", odd_length)
    np.savez(tmp_path / "sample.npz", x=floats(2, 1001))
    sidecar = tmp_path / "model.toml"
    sidecar.write_text(SIDECAR)
    warmup = recorded(tmp_path, {"instances": floats(3, 2002).tolist()})
    files = ModelFiles(id=ModelId("model", 1), path=path)
    builder = ArtifactBuilder(ArtifactCache(tmp_path / "cache"), timeout_seconds=200)

    for tried, size in (
        (replace(files, sidecar=sidecar), 1001),
        (replace(files, warmup=warmup), 2002),
    ):
        made = await builder.build(tried, lambda _: None)
        sample = made.manifest.signatures["serving_default"].sample
        assert sample is not None
        assert sample.shapes["x"][1] == size

    sidecar.write_text('sample = "other.npz"')

    with pytest.raises(InvalidSidecar, match="model.toml: 'sample' names 'other.npz'"):
        await builder.build(replace(files, sidecar=sidecar), lambda _: None)
