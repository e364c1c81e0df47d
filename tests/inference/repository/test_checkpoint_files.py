"""TensorFlow 1 checkpoints: their files, and reports of missing ones."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from inference.repository.digest import digest_source
from inference.repository.fingerprint import take_fingerprint
from inference.repository.scan import scan_repository
from tests.inference.repository.test_scan import found, lay, versions

if TYPE_CHECKING:
    from pathlib import Path

DATA = "data-00000-of-00001"


def checkpoint(stem: str) -> list[str]:
    return [f"{stem}.{suffix}" for suffix in ("meta", "index", DATA)]


@pytest.mark.parametrize(
    ("paths", "models"),
    [
        pytest.param(
            checkpoint("flowers"), {"flowers/1": "flowers.meta"}, id="bare files"
        ),
        pytest.param(
            [*checkpoint("model.ckpt"), "checkpoint"],
            {"model/1": "model.ckpt.meta"},
            id="a saver's usual suffix",
        ),
        pytest.param(
            checkpoint("net.ckpt-1234"), {"net/1": "net.ckpt-1234.meta"}, id="a step"
        ),
        pytest.param(
            checkpoint("resnet-50"), {"resnet-50/1": "resnet-50.meta"}, id="no step"
        ),
        pytest.param(
            [f"m/{each}" for each in checkpoint("model.ckpt-7")],
            {"m/1": "m/model.ckpt-7.meta"},
            id="a folder",
        ),
        pytest.param(
            [f"m/3/{each}" for each in (*checkpoint("model.ckpt"), "checkpoint")],
            {"m/3": "m/3/model.ckpt.meta"},
            id="a version",
        ),
        pytest.param(
            ["f.meta", "f.index", "f.data-00000-of-00002", "f.data-00001-of-00002"],
            {"f/1": "f.meta"},
            id="in shards",
        ),
        pytest.param(
            ["m/model.pb", "m/notes.meta"], {"m/1": "m/model.pb"}, id="another's .meta"
        ),
        pytest.param(
            ["m/frozen.pb", *(f"m/{each}" for each in checkpoint("model.ckpt"))],
            {"m/1": "m/frozen.pb"},
            id="beside the graph frozen from it",
        ),
        pytest.param(["faiss.index", "a.pb"], {"a/1": "a.pb"}, id="another's .index"),
    ],
)
def test_checkpoints_are_found(
    tmp_path: Path, paths: list[str], models: dict[str, str]
) -> None:
    scan = scan_repository(lay(tmp_path / "models", *paths))

    assert found(scan, tmp_path / "models") == models
    assert scan.problems == []


@pytest.mark.parametrize("inside", ["", "flowers/", "flowers/2/"])
@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([f"f.{DATA}", "f.index"], "f.meta isn't beside them"),
        (["f.meta", f"f.{DATA}"], "f.index isn't beside it"),
        (["f.meta", "f.index"], f"f.{DATA} isn't beside it"),
        (
            ["f.meta", "f.index", "f.data-00001-of-00003"],
            "f.data-00000-of-00003 isn't beside it",
        ),
        (["f.meta", "f"], "f, are of the first kind of checkpoint"),
        (["model.ckpt.meta", "model.ckpt"], "model.ckpt, are of the first kind"),
    ],
)
def test_missing_part_is_named(
    tmp_path: Path, inside: str, pieces: list[str], message: str
) -> None:
    root = lay(tmp_path / "models", *(f"{inside}{each}" for each in pieces))
    scan = scan_repository(root)

    assert versions(scan) == []
    assert any(message in problem for problem in scan.problems), scan.problems
    assert any("Saver().save" in problem for problem in scan.problems)


def test_several_steps_are_refused(tmp_path: Path) -> None:
    steps = [*checkpoint("model.ckpt-1"), *checkpoint("model.ckpt-2")]
    inside = scan_repository(lay(tmp_path / "a", *(f"m/{each}" for each in steps)))
    bare = scan_repository(lay(tmp_path / "b", *steps))

    assert versions(inside) == []
    assert any("several models" in problem for problem in inside.problems)
    assert found(bare, tmp_path / "b") == {"model/1": "model.ckpt-1.meta"}
    assert any("'model' is served from" in problem for problem in bare.problems)


@pytest.mark.parametrize("sidecar", ["net.ckpt-5.toml", "net.toml"])
def test_a_checkpoint_has_a_sidecar(tmp_path: Path, sidecar: str) -> None:
    root = lay(tmp_path / "models", *checkpoint("net.ckpt-5"), sidecar)
    (files,) = versions(scan_repository(root))

    assert files.sidecar == root / sidecar


def test_one_file_of_a_checkpoint_may_be_given(tmp_path: Path) -> None:
    root = lay(tmp_path / "models", *checkpoint("flowers"))

    assert found(scan_repository(root / "flowers.meta"), root) == {
        "flowers/1": "flowers.meta"
    }


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    root = lay(tmp_path / "models", "flowers.meta", "flowers.index")
    lay(tmp_path / "elsewhere", "data")
    (root / f"flowers.{DATA}").symlink_to(tmp_path / "elsewhere/data")
    scan = scan_repository(root)

    assert versions(scan) == []
    assert "link out of the repository" in scan.problems[0]


@pytest.mark.parametrize("suffix", ["meta", "index", DATA])
def test_each_file_changes_the_digest(tmp_path: Path, suffix: str) -> None:
    root = lay(tmp_path / "models", *checkpoint("flowers"))
    (files,) = versions(scan_repository(root))
    digest = digest_source(files.path)
    before = take_fingerprint(files, folder=False)
    (root / f"flowers.{suffix}").write_bytes(b"other")

    assert digest_source(files.path).sha256 != digest.sha256
    assert take_fingerprint(files, folder=False).digest != before.digest
    assert len(digest.files) == 3


def test_a_checkpoint_is_the_same_under_another_name(tmp_path: Path) -> None:
    root = lay(tmp_path / "models", *checkpoint("flowers"), "other.index")
    before = digest_source(root / "flowers.meta").sha256

    for suffix in ("meta", "index", DATA):
        os.rename(root / f"flowers.{suffix}", root / f"trees.{suffix}")

    assert digest_source(root / "trees.meta").sha256 == before
