from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from inference.repository.digest import digest_source

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "saved"
    (path / "variables").mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(b"graph")
    (path / "variables" / "variables.index").write_bytes(b"index")
    return path


@pytest.mark.parametrize("name", ["SHA256SUMS", "warmup.jsonl", "README.md", "a.txt"])
def test_unrelated_files_leave_the_digest_unchanged(folder: Path, name: str) -> None:
    before = digest_source(folder).sha256
    (folder / name).touch()
    assert digest_source(folder).sha256 == before

    # Below, it may be a file that the graph reads.
    (folder / "variables" / name).touch()
    assert digest_source(folder).sha256 != before


def test_kubernetes_volume_is_hashed_through_its_links(folder: Path) -> None:
    before = digest_source(folder).sha256
    data = folder / "..2026_11_22"
    data.mkdir()
    (folder / "..data").symlink_to(data.name)

    for name in ("saved_model.pb", "variables"):
        (folder / name).rename(data / name)
        (folder / name).symlink_to(f"..data/{name}")

    assert digest_source(folder).sha256 == before


@pytest.mark.parametrize("name", ["saved_model.pbtxt", "assets/words.txt"])
def test_files_that_a_graph_can_name_change_the_digest(folder: Path, name: str) -> None:
    before = digest_source(folder).sha256
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).touch()

    assert digest_source(folder).sha256 != before


def test_listing_covers_names_and_kinds_only(folder: Path) -> None:
    def listing() -> str:
        return digest_source(folder).listing

    seen = [listing()]
    (folder / "src").mkdir()
    seen.append(listing())
    os.mkfifo(folder / "src" / "notes")
    seen.append(listing())
    (folder / "src" / "notes").unlink()
    (folder / "src" / "notes").symlink_to("nothing")
    seen.append(listing())
    (folder / "src" / "notes").unlink()
    (folder / "src" / "notes").touch()
    seen.append(listing())
    (folder / "src" / "notes").write_text("more")

    assert len(set(seen)) == len(seen)
    assert listing() == seen[-1]


def test_digest_changes_with_link_targets(folder: Path) -> None:
    variables = (folder / "variables").rename(folder.parent / "elsewhere")
    (folder / "variables").symlink_to(variables)
    before = digest_source(folder).sha256
    (variables / "variables.index").write_bytes(b"other")

    assert digest_source(folder).sha256 != before


def test_missing_source_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        digest_source(tmp_path / "none.h5")


def test_digest_has_the_size_of_all_files(folder: Path) -> None:
    (folder / "variables" / "large").write_bytes(b"x" * (2**20 + 1))

    digest = digest_source(folder)

    assert digest.nbytes == len(b"graph" + b"index") + 2**20 + 1
    assert digest.files[folder / "saved_model.pb"] == sha256(b"graph").hexdigest()
    assert len(digest.files) == 3
