"""Limits of a scan: symlinks, counts, unreadable entries."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from inference.repository.scan import scan_repository
from tests.inference.repository.test_scan import found, lay

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
SAVED = "saved_model.pb"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a repository with one valid model, beside an outside folder."""
    lay(tmp_path / "outside", "a.h5", "saved/saved_model.pb", "1/a.h5")
    return lay(tmp_path / "root", "good.h5", "store/1/a.h5", "-")


@contextmanager
def unprivileged() -> Iterator[None]:
    """Make an entry unreadable; skip the test for root."""
    if os.geteuid() != 0:
        yield
        return

    os.seteuid(NOBODY)

    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(
    ("link", "target", "model"),
    [
        pytest.param("m.h5", "good.h5", "m/1", id="a file"),
        pytest.param("m.h5", "./store/../good.h5", "m/1", id="a way round"),
        pytest.param("m", "store", "m/1", id="a model"),
        pytest.param("store/2", "1", "store/2", id="a version"),
        pytest.param("store/2", "../store/1", "store/2", id="out and in again"),
        pytest.param("store/2/b.h5", "../../good.h5", "store/2", id="a version's file"),
    ],
)
def test_links_inside_are_followed(
    root: Path, link: str, target: str, model: str
) -> None:
    (root / link).parent.mkdir(exist_ok=True)
    (root / link).symlink_to(target)
    scan = scan_repository(root)

    assert scan.problems == []
    assert set(found(scan, root)) == {"good/1", "store/1", model}


@pytest.mark.parametrize(
    ("link", "target", "place", "words"),
    [
        pytest.param("m.h5", "../outside/a.h5", "m.h5", "out of", id="a file"),
        pytest.param("m", "../outside", "m", "out of", id="a model"),
        pytest.param("m/1", "../../outside/1", "m/1", "out of", id="a version"),
        pytest.param("m/1/a.h5", "../../../outside/a.h5", "m/1", "out of", id="inside"),
        pytest.param("m/a.h5", "/dev/null", "m", "out of", id="a device"),
        pytest.param("m", "/", "m", "out of", id="everything"),
        pytest.param("m.h5", "none.h5", "m.h5", "to nothing", id="to nothing"),
        pytest.param("m/3", "none", "m/3", "to nothing", id="a version to nothing"),
        pytest.param("m.h5", "m.h5", "m.h5", "symbolic links", id="to itself"),
    ],
)
def test_links_that_lead_out_are_problems(
    root: Path, link: str, target: str, place: str, words: str
) -> None:
    (root / link).parent.mkdir(parents=True, exist_ok=True)
    (root / link).symlink_to(target)
    scan = scan_repository(root)

    assert set(found(scan, root)) == {"good/1", "store/1"}
    assert len(scan.problems) == 1
    assert scan.problems[0].startswith(f"{place}: ")
    assert words in scan.problems[0]
    assert "m" in scan.uncertain


@pytest.mark.parametrize(
    ("link", "target", "words"),
    [
        pytest.param("m/1/assets", "..", "in a circle", id="the model"),
        pytest.param("m/1/assets", "../..", "in a circle", id="the root"),
        pytest.param("m/1/assets", "../../../outside", "out of", id="outside"),
        pytest.param("m/1/variables/x", "/etc/hostname", "out of", id="a file"),
        pytest.param("m/1/variables/x", "none", "to nothing", id="to nothing"),
    ],
)
def test_links_in_a_saved_model(root: Path, link: str, target: str, words: str) -> None:
    lay(root, f"m/1/{SAVED}", "m/1/variables/")
    (root / link).symlink_to(target)
    scan = scan_repository(root)

    assert set(found(scan, root)) == {"good/1", "store/1"}
    assert len(scan.problems) == 1
    assert words in scan.problems[0]


def test_links_in_a_saved_model_that_stay_inside(root: Path) -> None:
    lay(root, f"m/1/{SAVED}", "store/variables/x")
    (root / "m/1/variables").symlink_to("../../store/variables")
    (root / "m/1/assets").symlink_to("../../store/variables")

    assert "m/1" in found(scan_repository(root), root)


def test_the_root_may_be_a_link(root: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(root)
    (root / "m.h5").symlink_to(root / "good.h5")

    assert set(found(scan_repository(link), link)) == {"good/1", "m/1", "store/1"}


@pytest.mark.parametrize(
    ("paths", "link"),
    [
        pytest.param("a.h5", "link.h5", id="a file"),
        pytest.param(SAVED, "link", id="a SavedModel"),
        pytest.param("3/a.h5", "link", id="versions"),
    ],
)
def test_one_model_itself_may_be_a_link(tmp_path: Path, paths: str, link: str) -> None:
    outside = lay(tmp_path / "outside", paths)
    place = lay(tmp_path / "place") / link
    place.symlink_to(outside / paths if link.endswith(".h5") else outside)
    scan = scan_repository(place)

    assert [entry.name for entry in scan.entries] == ["link"]
    assert scan.problems == []


def test_a_kubernetes_volume(tmp_path: Path) -> None:
    """Entries link to `..data/x`, and `..data` links to a dated folder."""
    root = lay(tmp_path / "root", "..2024_01/flowers.h5", "..2024_01/m/1/a.h5")
    (root / "..data").symlink_to("..2024_01")
    (root / "flowers.h5").symlink_to("..data/flowers.h5")
    (root / "m").symlink_to("..data/m")
    scan = scan_repository(root)

    assert found(scan, root) == {"flowers/1": "flowers.h5", "m/1": "m/1/a.h5"}
    assert scan.problems == []


def test_entries_are_bounded(tmp_path: Path) -> None:
    root = lay(tmp_path, "a.h5", "b/1/x.h5", "c.h5", "d.h5")
    scan = scan_repository(root, limit=4)

    assert set(found(scan, root)) == {"a/1", "b/1"}
    assert len(scan.problems) == 1
    assert scan.problems[0].startswith("c.h5: the repository has more than 4 entries")
    assert scan.uncertain == {"c", "d"}


def test_entries_inside_a_saved_model_are_bounded(tmp_path: Path) -> None:
    root = lay(tmp_path, "a.h5", f"m/{SAVED}", *(f"m/assets/{n}" for n in range(20)))
    scan = scan_repository(root, limit=20)

    assert set(found(scan, root)) == {"a/1"}
    assert scan.uncertain == {"m"}
    assert scan_repository(root / "m", limit=20).uncertain >= {"m"}


def test_unreadable_entry_is_its_own_problem() -> None:
    with tempfile.TemporaryDirectory() as name:
        root = lay(Path(name), "closed/1/a.h5", "good.h5", "m/1/a.h5", "m/2/a.h5")
        root.chmod(0o755)
        (root / "closed").chmod(0)
        (root / "m/2").chmod(0)

        with unprivileged():
            scan = scan_repository(root)

        (root / "closed").chmod(0o755)
        (root / "m/2").chmod(0o755)

    assert [entry.name for entry in scan.entries] == ["good", "m"]
    assert [files.id.version for files in scan.entries[1].versions] == [1]
    assert scan.problems == [
        "closed: it can't be read: Permission denied.",
        "m/2: it can't be read: Permission denied.",
    ]
    assert scan.uncertain == {"closed", "m"}


def test_unreadable_root_raises() -> None:
    with tempfile.TemporaryDirectory() as name:
        lay(Path(name), "good.h5")
        Path(name).chmod(0)

        with unprivileged(), pytest.raises(PermissionError):
            scan_repository(Path(name))

        Path(name).chmod(0o755)


def test_lost_and_found_is_ignored(tmp_path: Path) -> None:
    assert scan_repository(lay(tmp_path, "lost+found/", "a.h5")).problems == []


@pytest.mark.parametrize("beside", ["5.tmp/a.h5", "notes.txt", "01/a.h5", "v6/a.h5"])
def test_other_entries_beside_one_models_versions(tmp_path: Path, beside: str) -> None:
    root = lay(tmp_path / "m", "4/a.h5", beside)

    assert found(scan_repository(root), root) == {"m/4": "4/a.h5"}


def test_one_model_stays_one_whatever_is_added(tmp_path: Path) -> None:
    root = lay(tmp_path / "m", "4/a.h5")
    assert scan_repository(root).one_model

    lay(root, "incoming/a.h5")

    assert set(found(scan_repository(root), root)) == {"4/1", "incoming/1"}
    kept = scan_repository(root, one_model=True)
    assert set(found(kept, root)) == {"m/4"}
    assert kept.one_model


def test_nesting_is_bounded(tmp_path: Path) -> None:
    lay(tmp_path, f"deep/{SAVED}", f"deep/{'x/' * 500}", f"flat/{SAVED}")
    lay(tmp_path / "flat", "x/" * 31)
    scan = scan_repository(tmp_path)

    assert set(found(scan, tmp_path)) == {"flat/1"}
    assert scan.problems == ["deep: x lies more than 32 deep."]


@pytest.mark.parametrize("name", [b"\xff.h5", b"a\nb.h5", b"\x1b[2J.h5"])
def test_unprintable_names_are_escaped(tmp_path: Path, name: bytes) -> None:
    root = lay(tmp_path, "m/1/", "good.h5")

    for folder in (root, root / "m/1"):
        (folder / os.fsdecode(name)).touch()

    scan = scan_repository(root)

    assert set(found(scan, root)) == {"good/1"}
    assert len(scan.problems) == 2
    assert all(problem.isprintable() for problem in scan.problems)
