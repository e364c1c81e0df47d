"""Symlinks out of the repository into folders that the operator names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inference.errors import InvalidModel
from inference.formats.opening import open_source
from inference.formats.saved_model.folder import check_folder
from inference.permissions import Permissions
from inference.repository.checksums import verify
from inference.repository.digest import digest_file, digest_source
from inference.repository.fingerprint import take_fingerprint
from inference.repository.scan import scan_repository
from inference.repository.sidecar import Sidecar
from inference.repository.snapshot import RepositoryScanner
from tests.crafted.saved_files import modern
from tests.inference.repository.test_scan import found, lay, versions

PB = "saved_model.pb"


def link_children(source: Path, target: Path) -> Path:
    """Link as KServe's storage initializer does: one absolute link for each child."""
    target.mkdir(parents=True)

    for path in source.iterdir():
        (target / path.name).symlink_to(path)

    return target


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The folder that links lead to."""
    return lay(tmp_path / "store", "-")


@pytest.mark.parametrize(
    ("paths", "models"),
    [
        pytest.param(["a.h5", "a.toml"], {"a/1": "a.h5"}, id="files"),
        pytest.param(
            ["3/model.keras", "4/saved_model.pb"],
            {"models/3": "3/model.keras", "models/4": "4"},
            id="versions",
        ),
        pytest.param(
            [PB, "variables/variables.index", "assets/words.txt", "lost+found/"],
            {"models/1": "."},
            id="a SavedModel",
        ),
        pytest.param(
            ["a/1/model.h5", "b/model.savedmodel/saved_model.pb", "c/MLmodel"]
            + ["c/data/model.keras"],
            {
                "a/1": "a/1/model.h5",
                "b/1": "b/model.savedmodel",
                "c/1": "c/data/model.keras",
            },
            id="a repository",
        ),
        pytest.param(
            ["MLmodel", "data/model.keras"], {"models/1": "data/model.keras"}, id="one"
        ),
    ],
)
def test_links_into_an_allowed_folder_are_followed(
    tmp_path: Path, store: Path, paths: list[str], models: dict[str, str]
) -> None:
    (store / "-").unlink()
    root = link_children(lay(store, *paths), tmp_path / "mnt/models")
    scan = scan_repository(root, follow=[store])

    assert found(scan, root) == models
    assert scan.problems == []

    without = scan_repository(root)
    assert without.entries == []
    assert all("with --follow-links-to." in problem for problem in without.problems)


def test_one_file_and_its_companions_through_links(tmp_path: Path, store: Path) -> None:
    names = ("m.h5", "m.json", "m.toml", "m.warmup.jsonl", "SHA256SUMS")
    root = link_children(lay(store, *names), tmp_path / "mnt/models")
    (files,) = versions(scan_repository(root / "m.h5", follow=[store]))

    assert files.sidecar == root / "m.toml"
    assert files.sums == root / "SHA256SUMS"
    assert files.warmup == root / "m.warmup.jsonl"

    (problem,) = scan_repository(root / "m.h5").problems
    assert "m.json is a link out of the repository" in problem


@pytest.mark.parametrize(
    ("link", "target"),
    [
        pytest.param("m.h5", "../store-2/a.h5", id="a longer name"),
        pytest.param("m.h5", "../a.h5", id="above it"),
        pytest.param("m.h5", "../store/out.h5", id="a link in it that leads out"),
        pytest.param("m", "../store/tree", id="a link in a SavedModel in it"),
    ],
)
def test_other_links_are_refused_as_before(
    tmp_path: Path, store: Path, link: str, target: str
) -> None:
    lay(tmp_path, "a.h5", "store-2/a.h5")
    lay(store, f"tree/{PB}", "tree/variables/")
    (store / "out.h5").symlink_to("../a.h5")
    (store / "tree/variables/words").symlink_to("/etc/hostname")
    root = lay(tmp_path / "root", "good.h5")
    (root / link).symlink_to(target)
    scan = scan_repository(root, follow=[store])

    assert [str(files.id) for files in versions(scan)] == ["good/1"]
    (problem,) = scan.problems
    assert "is a link out of the repository" in problem


def test_circular_links_through_an_allowed_folder_are_found(
    tmp_path: Path, store: Path
) -> None:
    root = lay(tmp_path / "root", f"m/{PB}", "good.h5")
    (root / "m/assets").symlink_to(store)
    (store / "back").symlink_to(root / "m")
    scan = scan_repository(root, follow=[store])

    assert [str(files.id) for files in versions(scan)] == ["good/1"]
    assert scan.problems == ["m: back is a link in a circle; remove it."]


def test_allowed_folder_may_be_a_link_or_missing(tmp_path: Path, store: Path) -> None:
    """Volumes are swapped by links; a lost mount may return."""
    lay(store, "a.h5")
    named = tmp_path / "named"
    root = lay(tmp_path / "root", "good.h5")
    (root / "m.h5").symlink_to(named / "a.h5")

    assert "link to nothing" in scan_repository(root, follow=[named]).problems[0]
    named.symlink_to(store)
    assert scan_repository(root, follow=[named]).problems == []


def test_link_targets_are_watched(tmp_path: Path, store: Path) -> None:
    lay(store, "a.h5", "b.h5")
    root = lay(tmp_path / "root", "-")
    (root / "m.h5").symlink_to(store / "a.h5")
    scanner = RepositoryScanner(root, quiet_seconds=0, follow=[store])

    def fingerprint() -> str:
        return scanner.scan().models["m"].versions[1].fingerprint

    seen = [fingerprint()]
    (store / "a.h5").write_bytes(b"more")
    seen.append(fingerprint())
    (root / "new").symlink_to(store / "b.h5")
    os.replace(root / "new", root / "m.h5")
    seen.append(fingerprint())
    assert len(set(seen)) == 3

    (root / "new").symlink_to("/etc/hostname")
    os.replace(root / "new", root / "m.h5")
    snapshot = scanner.scan()
    assert list(snapshot.models) == []
    assert snapshot.uncertain == {"m"}


def test_sums_are_checked_through_links(tmp_path: Path, store: Path) -> None:
    lay(store, f"m/{PB}", "m/variables/x")
    names = (PB, "variables/x")
    lines = [f"{digest_file(store / 'm' / name)}  {name}\n" for name in names]
    (store / "m/SHA256SUMS").write_text("".join(lines))
    root = lay(tmp_path / "root", "-")
    link_children(store / "m", root / "m")
    (files,) = versions(scan_repository(root, follow=[store]))
    before = take_fingerprint(files, folder=True).digest
    assert verify(files) == "verified"

    (store / "m/variables/x").write_text("other")

    assert take_fingerprint(files, folder=True).digest != before
    with pytest.raises(InvalidModel, match="variables/x isn't what SHA256SUMS says"):
        verify(files)


def test_a_savedmodel_of_links_is_read(tmp_path: Path) -> None:
    whole = modern(tmp_path)
    folder = link_children(whole, tmp_path / "linked")
    allowed = Permissions(follow_links_to=(tmp_path / "model",))

    with open_source(folder, Sidecar(), allowed) as source:
        assert source.signatures

    assert digest_source(folder).sha256 == digest_source(whole).sha256

    with pytest.raises(InvalidModel, match="with --follow-links-to"):
        open_source(folder, Sidecar()).__enter__()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("variables/pipe", "linked/variables/pipe is a pipe", id="a pipe"),
        pytest.param("assets/out", "assets/out is a link that leads out", id="a link"),
        pytest.param("assets/none", "assets/none is a link to nothing", id="nothing"),
    ],
)
def test_files_behind_links_are_checked(
    tmp_path: Path, store: Path, name: str, words: str
) -> None:
    lay(store, PB, "variables/x", "assets/x")
    targets: dict[str, str | Path] = {
        "assets/out": "/etc/hostname",
        "assets/none": store / "none",
    }

    if name in targets:
        (store / name).symlink_to(targets[name])
    else:
        os.mkfifo(store / name)

    folder = link_children(store, tmp_path / "linked")

    with pytest.raises(InvalidModel, match=words):
        check_folder(folder, [store])


def test_allowed_folders_leave_the_key_unchanged() -> None:
    followed = Permissions(follow_links_to=(Path("/a"),))
    assert followed.shaping() == Permissions().shaping()
