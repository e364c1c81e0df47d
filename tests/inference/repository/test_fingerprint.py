"""Every change to a version's files is detected without reading them."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from inference.repository.fingerprint import take_fingerprint
from inference.repository.scan import scan_repository
from tests.inference.repository.test_scan import lay, versions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SAVED = ("m/1/saved_model.pb", "m/1/variables/variables.index")


def digest(root: Path) -> str:
    (files,) = versions(scan_repository(root))
    return take_fingerprint(files, folder=True).digest


def write(place: str) -> Callable[[Path], None]:
    def act(root: Path) -> None:
        (root / place).write_bytes(b"new")

    return act


def overwrite_alike(root: Path) -> None:
    """Same size, and the old modification time restored."""
    path = root / "m.h5"
    before = path.stat()

    # The kernel's clock for this moves in steps of milliseconds.
    while path.stat().st_ctime_ns == before.st_ctime_ns:
        path.write_bytes(b"other")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def rename_over(root: Path) -> None:
    """Another file takes the name, with the old times."""
    shutil.copy2(root / "m.h5", root / "new")
    (root / "new").replace(root / "m.h5")


def remove(place: str) -> Callable[[Path], None]:
    def act(root: Path) -> None:
        (root / place).unlink()

    return act


@pytest.mark.parametrize(
    ("paths", "act"),
    [
        pytest.param(["m.h5"], write("m.h5"), id="grown"),
        pytest.param(["m.h5"], overwrite_alike, id="overwritten alike"),
        pytest.param(["m.h5"], rename_over, id="renamed over"),
        pytest.param(["m.h5"], write("m.json"), id="an architecture"),
        pytest.param(["m.h5", "m.json"], remove("m.json"), id="none any more"),
        pytest.param(["m.h5"], write("m.toml"), id="a sidecar"),
        pytest.param(["m.h5", "m.toml"], write("m.toml"), id="another sidecar"),
        pytest.param(["m/1/a.h5"], write("m/model.toml"), id="the model's sidecar"),
        pytest.param(["m.h5"], write("SHA256SUMS"), id="checksums"),
        pytest.param(["m.h5"], write("m.warmup.jsonl"), id="recorded requests"),
        pytest.param([*SAVED], write(SAVED[0]), id="a graph"),
        pytest.param([*SAVED], write(SAVED[1]), id="variables"),
        pytest.param([*SAVED], write("m/1/variables/new"), id="a new file"),
        pytest.param([*SAVED], remove(SAVED[1]), id="a file less"),
    ],
)
def test_change_is_detected(
    tmp_path: Path, paths: list[str], act: Callable[[Path], None]
) -> None:
    root = lay(tmp_path, *paths, "-")
    model = root / paths[0]
    model.write_bytes(b"model")
    before = digest(root)
    assert digest(root) == before

    act(root)

    assert digest(root) != before


@pytest.mark.parametrize("place", ["m/labels.txt", "m/below/sample.npz"])
@pytest.mark.parametrize("act", ["appears", "changes", "goes"])
def test_change_of_a_file_that_the_sidecar_names_is_detected(
    tmp_path: Path, place: str, act: str
) -> None:
    root = lay(tmp_path, "m/1/a.h5", "m/below/", "-")
    (root / "m/model.toml").write_text(
        'classes = "labels.txt"\nsample = "below/sample.npz"\n'
    )
    if act != "appears":
        (root / place).write_bytes(b"old")

    before = digest(root)
    assert digest(root) == before

    if act == "goes":
        (root / place).unlink()
    else:
        (root / place).write_bytes(b"newer")

    assert digest(root) != before


@pytest.mark.parametrize(
    "text", ["classes = 1", "classes = [", 'sample = "\\u0000"', "sample = '\xff'"]
)
def test_sidecars_that_are_wrong_name_no_files(tmp_path: Path, text: str) -> None:
    root = lay(tmp_path, "m/1/a.h5", "-")
    (root / "m/model.toml").write_text(text, "latin-1")

    assert digest(root) == digest(root)


@pytest.mark.parametrize(
    "place", ["other.txt", "m/notes.txt", "m/1/labels.txt", "m/1/b.warmup.jsonl"]
)
def test_unrelated_files_are_no_change(tmp_path: Path, place: str) -> None:
    root = lay(tmp_path, "m/1/a.h5", "-")
    before = digest(root)
    (root / place).touch()

    assert digest(root) == before


def test_swapped_kubernetes_link_is_detected(tmp_path: Path) -> None:
    root = lay(tmp_path, "..2024_01/m.h5")
    shutil.copytree(root / "..2024_01", root / "..2024_02")
    (root / "..data").symlink_to("..2024_01")
    (root / "m.h5").symlink_to("..data/m.h5")
    lay(root, "-")
    before = digest(root)

    (root / "..new").symlink_to("..2024_02")
    (root / "..new").replace(root / "..data")

    assert digest(root) != before


def test_changed_is_the_latest_change(tmp_path: Path) -> None:
    """The newest ctime of all its files and folders."""
    root = lay(tmp_path, *SAVED, "m/model.toml")
    (files,) = versions(scan_repository(root / "m"))
    os.utime(root / SAVED[0], (0, 0))
    places = [*SAVED, "m/1", "m/1/variables", "m/model.toml"]
    newest = max((root / place).stat().st_ctime for place in places)

    assert take_fingerprint(files, folder=True).changed == newest

    (root / "m/1/variables/new").touch()
    (root / "m/1/variables/new").unlink()
    newest = (root / "m/1/variables").stat().st_ctime

    assert take_fingerprint(files, folder=True).changed == newest
