"""The files beside a model that go with it: sidecar, checksums, recorded requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from inference.repository.scan import scan_repository
from tests.inference.repository.test_scan import lay, versions

if TYPE_CHECKING:
    from pathlib import Path

    from inference.repository.scan import Scan


def sidecars(scan: Scan, root: Path) -> dict[str, str]:
    return {
        files.id.name: files.sidecar.relative_to(root).as_posix()
        for files in versions(scan)
        if files.sidecar is not None
    }


@pytest.mark.parametrize(
    ("paths", "sidecar"),
    [
        (["m.h5", "m.toml", "other.toml"], "m.toml"),
        (["m/a.h5", "m/a.toml", "m/model.toml"], "m/a.toml"),
        (["m/a.h5", "m/model.toml"], "m/model.toml"),
        (["m/2/a.h5", "m/2/a.toml", "m/model.toml"], "m/2/a.toml"),
        (["m/2/a.h5", "m/2/model.toml", "m/model.toml"], "m/2/model.toml"),
        (["m/2/a.h5", "m/model.toml"], "m/model.toml"),
        (["m/saved_model.pb", "m/model.toml", "m.toml"], "m/model.toml"),
        (["m/2/saved_model.pb", "m/model.toml"], "m/model.toml"),
        (["m/a.h5", "model.toml"], None),
        (["m.h5", "model.toml"], None),
    ],
)
def test_nearest_sidecar_is_used(
    tmp_path: Path, paths: list[str], sidecar: str | None
) -> None:
    scan = scan_repository(lay(tmp_path / "root", *paths))

    assert sidecars(scan, tmp_path / "root") == ({"m": sidecar} if sidecar else {})


@pytest.mark.parametrize(
    ("paths", "root", "sidecar"),
    [
        (["m.h5", "m.toml"], "m.h5", "m.toml"),
        (["m/saved_model.pb", "m/model.toml"], "m", "m/model.toml"),
        (["m/2/saved_model.pb", "m/model.toml"], "m/2", "m/model.toml"),
    ],
)
def test_sidecar_of_a_model_given_itself(
    tmp_path: Path, paths: list[str], root: str, sidecar: str
) -> None:
    scan = scan_repository(lay(tmp_path, *paths) / root)

    assert sidecars(scan, tmp_path) == {"m": sidecar}


@pytest.mark.parametrize(
    ("paths", "sidecar"),
    [
        pytest.param(["m/2/a.h5", "m/model.toml"], "m/model.toml", id="the model's"),
        pytest.param(["m/2/a.h5", "m/2/model.toml"], None, id="not a version's"),
        pytest.param(["m.h5", "m.toml"], "m.toml", id="beside a file"),
        pytest.param(["m/a.h5", "m/a.toml"], "m/a.toml", id="without versions"),
        pytest.param(["m/a.h5", "m/model.toml"], "m/model.toml", id="in the folder"),
        pytest.param(["m.h5"], None, id="none"),
    ],
)
def test_sidecar_of_the_model_is_separate(
    tmp_path: Path, paths: list[str], sidecar: str | None
) -> None:
    (entry,) = scan_repository(lay(tmp_path, *paths, "-")).entries

    assert entry.sidecar == (tmp_path / sidecar if sidecar else None)


@pytest.mark.parametrize(
    ("paths", "sums"),
    [
        (["m/2/a.h5", "m/2/SHA256SUMS", "m/SHA256SUMS", "SHA256SUMS"], "m/2"),
        (["m/2/a.h5", "m/SHA256SUMS", "SHA256SUMS"], "m"),
        (["m/2/a.h5", "SHA256SUMS"], "."),
        (["m/2/saved_model.pb", "m/2/SHA256SUMS"], "m/2"),
        (["m/a.h5", "m/SHA256SUMS", "SHA256SUMS"], "m"),
        (["m.h5", "SHA256SUMS"], "."),
        (["m.h5", "other/SHA256SUMS"], None),
    ],
)
def test_nearest_checksums_are_used(
    tmp_path: Path, paths: list[str], sums: str | None
) -> None:
    (files,) = versions(scan_repository(lay(tmp_path, *paths, "-")))

    assert files.sums == (tmp_path / sums / "SHA256SUMS" if sums else None)


@pytest.mark.parametrize(
    ("paths", "warmup"),
    [
        (["m/2/a.h5", "m/2/warmup.jsonl", "m/warmup.jsonl"], "m/2/warmup.jsonl"),
        (["m/2/a.h5", "m/warmup.jsonl", "warmup.jsonl"], "m/warmup.jsonl"),
        (["m/a.h5", "m/warmup.jsonl"], "m/warmup.jsonl"),
        (["m/a.h5", "warmup.jsonl"], None),
        (["m.h5", "m.warmup.jsonl", "warmup.jsonl"], "m.warmup.jsonl"),
        (["m.h5", "warmup.jsonl"], None),
    ],
)
def test_nearest_recorded_requests_are_used(
    tmp_path: Path, paths: list[str], warmup: str | None
) -> None:
    (files,) = versions(scan_repository(lay(tmp_path, *paths, "-")))

    assert files.warmup == (tmp_path / warmup if warmup else None)


def test_companions_of_a_folder_of_versions(tmp_path: Path) -> None:
    root = lay(tmp_path / "m", "1/a.h5", "model.toml", "SHA256SUMS", "warmup.jsonl")
    scan = scan_repository(root)
    (files,) = versions(scan)

    assert scan.entries[0].sidecar == files.sidecar == root / "model.toml"
    assert files.sums == root / "SHA256SUMS"
    assert files.warmup == root / "warmup.jsonl"


def test_companions_of_one_file(tmp_path: Path) -> None:
    lay(tmp_path, "m.h5", "m.toml", "SHA256SUMS", "m.warmup.jsonl", "other.h5")
    (files,) = versions(scan_repository(tmp_path / "m.h5"))

    assert files.sums == tmp_path / "SHA256SUMS"
    assert files.warmup == tmp_path / "m.warmup.jsonl"


@pytest.mark.parametrize("name", ["model.toml", "SHA256SUMS", "warmup.jsonl", "a.json"])
def test_companion_outside_is_a_problem(tmp_path: Path, name: str) -> None:
    """Without this, the model would be served as if it had no checksums."""
    lay(tmp_path, "outside")
    lay(tmp_path / "root", "m/a.h5", "good.h5")
    (tmp_path / "root/m" / name).symlink_to(tmp_path / "outside")

    scan = scan_repository(tmp_path / "root")

    assert [str(files.id) for files in versions(scan)] == ["good/1"]
    assert scan.problems == [
        (
            f"m: {name} is a link out of the repository, which isn't followed; put the "
            "files themselves there, or name the folder that it leads into with "
            "--follow-links-to."
        )
    ]
    assert scan.uncertain == {"m"}
