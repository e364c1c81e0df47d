"""Checks of a SavedModel's folder, before anything is parsed."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from inference.errors import InvalidModel
from inference.formats.opening import open_source
from inference.formats.saved_model.folder import check_folder
from inference.repository.digest import digest_source
from inference.repository.sidecar import Sidecar
from tests.crafted.saved_files import good
from tests.crafted.saved_folders import BEFORE_PARSING

if TYPE_CHECKING:
    from pathlib import Path

WITHOUT = """\
import sys
from pathlib import Path

sys.modules.update(dict.fromkeys(("tensorflow", "keras", "tf_keras", "h5py")))

from inference.errors import InvalidModel
from inference.formats.saved_model.folder import check_folder

for path in sys.argv[1:]:
    try:
        check_folder(Path(path))
    except InvalidModel as exc:
        print(exc)
    else:
        print("passed")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the file names of an export."""
    path = tmp_path / "model"
    (path / "variables").mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(b"?")
    (path / "variables" / "variables.index").write_bytes(b"?")
    return path


def test_it_needs_neither_tensorflow_nor_keras(tmp_path: Path) -> None:
    """Importing them raises in the child, and all folders are refused all the same."""
    paths = []

    for name, (change, _) in BEFORE_PARSING.items():
        path = tmp_path / name / "model"
        (path / "variables").mkdir(parents=True)
        (path / "saved_model.pb").write_bytes(b"?")
        change(path, tmp_path / "canary")
        paths.append(str(path))

    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *paths],
        capture_output=True,
        text=True,
        check=True,
    )
    said = done.stdout.splitlines()

    assert len(said) == len(BEFORE_PARSING)
    assert not (tmp_path / "canary").exists()
    assert "passed" not in said


BESIDE = {
    "what exports write": ("fingerprint.pb", "keras_metadata.pb", "tfhub_module.pb"),
    "what people add": ("labels.txt", "README", "README.md", "LICENSE", "rose.jpg"),
    "what file managers leave": (".DS_Store", "Thumbs.db", "._saved_model.pb"),
    "what Tandem reads for itself": ("model.toml", "warmup.jsonl", "SHA256SUMS"),
    "another server's": ("assets.extra/tf_serving_warmup_requests", "config.pbtxt"),
    "code": ("run.py", "custom_ops.so", "code/inference.py", "__pycache__/run.pyc"),
    "other forms of the model": ("model.tflite", "model.onnx", "model.h5", "frozen.pb"),
    "folders": (".git/objects/a", "src/saved_model.pbtxt", "eval/events.out.tfevents"),
}


@pytest.mark.parametrize("names", BESIDE.values(), ids=BESIDE)
def test_unreferenced_files_are_not_read(folder: Path, names: tuple[str, ...]) -> None:
    before = digest_source(folder)

    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        # Who reads it is busy for hours.
        os.truncate(path, 2**40)

    check_folder(folder)
    after = digest_source(folder)

    assert (after.sha256, after.nbytes) == (before.sha256, before.nbytes)
    assert after.files == before.files


def test_model_with_unreferenced_files_is_served(tmp_path: Path) -> None:
    path = good(tmp_path)
    canary = tmp_path / "canary"
    (path / "run.py").write_text(f"open({str(canary)!r}, 'w').write('sung')")
    (path / "sitecustomize.py").write_text(f"open({str(canary)!r}, 'w').write('sung')")
    (path / "custom_ops.so").write_bytes(b"\x7fELF")
    (path / "assets.extra").mkdir()

    with open_source(path, Sidecar()) as source:
        assert source.signatures

    assert not canary.exists()


@pytest.mark.parametrize("name", ["saved_model.pbtxt", "saved_model.cpb"])
def test_other_form_of_the_graph_is_named(folder: Path, name: str) -> None:
    (folder / "saved_model.pb").rename(folder / name)

    with pytest.raises(InvalidModel, match=rf"no saved_model.pb.*{name}"):
        check_folder(folder)


def test_links_of_a_mounted_volume_are_followed(folder: Path) -> None:
    """Kubernetes mounts volumes so, to change all files at once."""
    real = folder / "..2026_01_01"
    real.mkdir()
    os.rename(folder / "saved_model.pb", real / "saved_model.pb")
    os.rename(folder / "variables", real / "variables")
    (folder / "..data").symlink_to(real.name)
    (folder / "saved_model.pb").symlink_to("..data/saved_model.pb")
    (folder / "variables").symlink_to("..data/variables")

    check_folder(folder)


def test_folder_may_be_a_link(folder: Path) -> None:
    (folder.parent / "current").symlink_to(folder.name)

    check_folder(folder.parent / "current")


def test_sibling_with_a_longer_name_is_outside(folder: Path) -> None:
    theirs = folder.parent / "model-other"
    theirs.mkdir()
    (theirs / "words").touch()
    (folder / "assets").mkdir()
    (folder / "assets" / "words").symlink_to(theirs / "words")

    with pytest.raises(InvalidModel, match="leads out of the model's folder"):
        check_folder(folder)


def test_number_of_entries_is_limited(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.formats.saved_model.folder.MAX_ENTRIES", 2)

    with pytest.raises(InvalidModel, match="more than 2 files"):
        check_folder(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_entry_is_named(folder: Path) -> None:
    (folder / "variables").chmod(0)

    try:
        with pytest.raises(InvalidModel, match="variables can't be examined"):
            check_folder(folder)
    finally:
        (folder / "variables").chmod(0o700)
