"""Folders of Keras 3: whole models saved without a zip, and weights in shards."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from typing import TYPE_CHECKING, Any

import h5py
import keras
import numpy as np
import pytest

from inference.errors import InvalidModel
from inference.formats.keras.gate import admit
from inference.permissions import Permissions
from inference.repository.digest import digest_source
from inference.repository.fingerprint import take_fingerprint
from inference.repository.scan import scan_repository
from tests.crafted import keras_configs, keras_lambdas
from tests.support.keras3 import (
    answers,
    flowers,
    read_answers,
    served_answers,
    words,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


# Keras' own, when it saves and quantizes.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't"),
    pytest.mark.filterwarnings("ignore:.*does not have a `quantize`"),
]

KIB = 2**-20
"""Of the gigabytes that Keras counts in."""


def saved(model: Any, path: Path) -> Path:
    keras.saving.save_model(model, str(path), zipped=False)
    return path


def sharded(model: Any, folder: Path, *, name: str = "m", kib: float = 17) -> Path:
    folder.mkdir()
    model.save_weights(folder / f"{name}.weights.json", max_shard_size=kib * KIB)
    (folder / f"{name}.json").write_text(model.to_json())
    return folder


def quantized() -> Any:
    model = flowers()
    model.quantize("int8")
    return model


def nested() -> Any:
    taken = keras.Input((8,))
    return keras.Model(taken, keras.layers.Dense(2)(flowers()(taken)))


@pytest.mark.parametrize("make", [flowers, words, quantized, nested])
def test_a_model_saved_without_a_zip_answers_as_its_own(
    tmp_path: Path, make: Callable[[], Any]
) -> None:
    model = make()
    path = saved(model, tmp_path / "m")

    np.testing.assert_array_equal(read_answers(path, model), answers(model))


@pytest.mark.parametrize(
    ("model", "kib"), [(flowers(), 17), (flowers(), 20), (nested(), 16.2)]
)
def test_shards_answer_as_the_whole_model(
    tmp_path: Path, model: Any, kib: float
) -> None:
    """Also if the variables of one layer are in two shards."""
    path = sharded(model, tmp_path / "m", kib=kib)

    assert len(list(path.glob("*.h5"))) > 1
    np.testing.assert_array_equal(read_answers(path, model), answers(model))


def test_shards_beside_the_architecture_that_keras_wrote(tmp_path: Path) -> None:
    model = flowers()
    path = sharded(model, tmp_path / "m")
    saved(model, tmp_path / "whole")
    (path / "m.json").unlink()
    shutil.copy(tmp_path / "whole" / "config.json", path)

    np.testing.assert_array_equal(read_answers(path, model), answers(model))


def test_a_folder_is_compiled_and_served(tmp_path: Path) -> None:
    model = flowers(middle=8)
    path = saved(model, tmp_path / "m")

    given = served_answers(path, tmp_path / "made", model)
    np.testing.assert_allclose(given, answers(model), rtol=1e-5, atol=1e-6)


def test_keras_folders_are_found(tmp_path: Path) -> None:
    model = flowers(middle=8)
    saved(model, tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "versions" / "3")
    shutil.copytree(tmp_path / "one", tmp_path / "named.keras")
    sharded(model, tmp_path / "shards")
    scan = scan_repository(tmp_path)

    assert scan.problems == []
    assert {str(each.versions[0].id) for each in scan.entries} == {
        "named/1",
        "one/1",
        "shards/1",
        "versions/3",
    }

    for name in ("one", "versions", "named.keras", "shards"):
        (entry,) = scan_repository(tmp_path / name).entries
        assert entry.name == name.removesuffix(".keras")


def test_each_file_of_a_folder_changes_the_digest(tmp_path: Path) -> None:
    path = saved(words(), tmp_path / "m")
    (files,) = scan_repository(path).entries[0].versions
    before = digest_source(path), take_fingerprint(files, folder=True)
    found = [each for each in path.rglob("*") if each.is_file()]

    assert {each.name for each in found} >= {"vocabulary.txt", "model.weights.h5"}

    for file in found:
        content = file.read_bytes()
        file.write_bytes(content + b" ")
        assert digest_source(path).sha256 != before[0].sha256
        assert take_fingerprint(files, folder=True).digest != before[1].digest
        file.write_bytes(content)

    assert digest_source(path).sha256 == before[0].sha256


@pytest.mark.parametrize(
    ("make", "says"),
    [
        ("bare", "one shard of m.weights.json; put it, the other shards and the arch"),
        ("no map", r"x: holds shards of weights, but not m\.weights\.json"),
        ("beside another", r"several models \(m_00000.*other.keras\); keep one"),
    ],
)
def test_shards_without_a_model_are_reported(
    tmp_path: Path, make: str, says: str
) -> None:
    path = sharded(flowers(), tmp_path / "x")

    if make == "bare":
        (path / "other.keras").touch()
        scan = scan_repository(path)
    else:
        (path / ("m.weights.json" if make == "no map" else "m.json")).unlink()
        (path / "other.keras").touch() if make == "beside another" else None
        scan = scan_repository(tmp_path)

    assert any(re.search(says, problem) for problem in scan.problems), scan.problems


def lost_shard(path: Path) -> None:
    (path / "m_00001.weights.h5").unlink()


def lost_architecture(path: Path) -> None:
    (path / "m.json").unlink()


def other_architecture(path: Path) -> None:
    (path / "m.json").write_text(flowers(middle=9).to_json())


def cut_shard(path: Path) -> None:
    shard = path / "m_00001.weights.h5"
    shard.write_bytes(shard.read_bytes()[:500])


def linked_shard(path: Path) -> None:
    with h5py.File(path / "m_00001.weights.h5", "a") as file:
        del file["layers/dense_1/vars/0"]
        file["layers/dense_1/vars/0"] = h5py.ExternalLink("/etc/passwd", "/x")


def mapped(name: object) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        places = json.loads((path / "m.weights.json").read_text())
        places["weight_map"]["/layers/dense/vars"] = name
        (path / "m.weights.json").write_text(json.dumps(places))

    return edit


def no_places(path: Path) -> None:
    (path / "m.weights.json").write_text('{"weight_map": []}')


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lost_shard, r"names m_00001\.weights\.h5, which isn't there. Copy all its"),
        (lost_architecture, r"only weights, in shards, .* as m\.json \(the text of"),
        (other_architecture, "weights in x don't fit the architecture in it"),
        (cut_shard, r"x/m_00001\.weights\.h5 is a damaged or truncated HDF5 file"),
        (linked_shard, r"dense_1/vars/0 is an external link"),
        (mapped("../m_00000.weights.h5"), "names '../m_00000.weights.h5', which isn't"),
        (mapped("other.h5"), "names 'other.h5', which isn't one of its shards"),
        (mapped([["m_00000.weights.h5"]]), "which isn't one of its shards"),
        (no_places, r"m\.weights\.json isn't a map of weights"),
    ],
)
def test_bad_shards_are_refused(
    tmp_path: Path, edit: Callable[[Path], None], says: str
) -> None:
    model = flowers()
    path = sharded(model, tmp_path / "x")
    edit(path)

    with pytest.raises(InvalidModel, match=says):
        read_answers(path, model)


def test_folders_are_refused_like_archives(tmp_path: Path) -> None:
    tried = 0

    for case in (*keras_configs.CASES, *keras_lambdas.CASES):
        (tmp_path / case.name).mkdir()
        path = case.make(tmp_path / case.name, tmp_path / "canary")

        if zipfile.is_zipfile(path):
            folder = tmp_path / case.name / "model"
            zipfile.ZipFile(path).extractall(folder)
            tried += 1

            with pytest.raises(InvalidModel, match=case.reason):
                admit(folder, Permissions())

    assert tried > 20
    assert not (tmp_path / "canary").exists()


def linked_weights(path: Path) -> None:
    with h5py.File(path / "model.weights.h5", "a") as file:
        file["other"] = h5py.ExternalLink("/etc/passwd", "/x")


def odd_version(path: Path) -> None:
    (path / "metadata.json").write_text('{"keras_version": "new"}')


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (linked_weights, "m/model.weights.h5, object /other is an external link"),
        (odd_version, "m/metadata.json says that Keras 'new' wrote it"),
        (lambda path: (path / "metadata.json").unlink(), "m/metadata.json isn't there"),
        (lambda path: (path / "config.json").write_text("{"), "m/config.json isn't JS"),
    ],
)
def test_bad_folders_are_refused(
    tmp_path: Path, edit: Callable[[Path], None], says: str
) -> None:
    path = saved(flowers(middle=8), tmp_path / "m")
    edit(path)

    with pytest.raises(InvalidModel, match=says):
        admit(path, Permissions())


def test_assets_count_as_memory(tmp_path: Path) -> None:
    path = saved(words(), tmp_path / "m")
    (path / "assets" / "large.txt").write_bytes(bytes(2**20))

    with pytest.raises(InvalidModel, match="assets of 1,0.* bytes; a model may have"):
        admit(path, Permissions(memory_bytes=2**20))
