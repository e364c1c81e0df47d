"""The place and the size of a sidecar's sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from inference.errors import InvalidSidecar
from inference.inputs import sample_file
from inference.inputs.sample_file import read_sample, sample_path
from tests.support.graphs import floats

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.npz", "isn't there"),
        ("../sample.npz", "isn't in the sidecar's folder"),
        ("/etc/hosts", "isn't in the sidecar's folder"),
        ("out.npz", "a link out of the sidecar's folder"),
        ("linked/sample.npz", "a link out of the sidecar's folder"),
        ("nul\0.npz", "isn't there"),
        (".", "isn't a file"),
    ],
)
def test_sample_outside_the_sidecars_folder_is_refused(
    tmp_path: Path, name: str, message: str
) -> None:
    folder, outside = tmp_path / "model", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    np.savez(outside / "sample.npz", x=floats(1))
    np.savez(tmp_path / "sample.npz", x=floats(1))
    (folder / "out.npz").symlink_to(tmp_path / "sample.npz")
    (folder / "linked").symlink_to(outside)

    with pytest.raises(InvalidSidecar, match=message):
        sample_path(folder / "model.toml", name)


def test_links_may_stay_inside_or_lead_into_allowed_folders(tmp_path: Path) -> None:
    volume, folder = tmp_path / "volume", tmp_path / "model"
    hidden = folder / "..2026"
    volume.mkdir()
    hidden.mkdir(parents=True)

    for place, name in ((volume, "out.npz"), (hidden, "in.npz")):
        np.savez(place / name, x=floats(2))
        (folder / name).symlink_to(place / name)

    assert sample_path(folder / "model.toml", "in.npz").name == "in.npz"
    found = sample_path(folder / "model.toml", "out.npz", [volume])
    assert read_sample(found)["x"].shape == (2,)


def test_the_size_of_a_sample_is_bounded_packed_and_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_file, "MAX_BYTES", 5000)
    np.savez_compressed(tmp_path / "small.npz", x=np.zeros(100_000))
    np.savez(tmp_path / "large.npz", x=np.zeros(1000))

    with pytest.raises(InvalidSidecar, match="has 1 arrays of 800,128 bytes"):
        read_sample(sample_path(tmp_path / "model.toml", "small.npz"))

    with pytest.raises(InvalidSidecar, match="at most 5,000 bytes"):
        sample_path(tmp_path / "model.toml", "large.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY" + bytes(99)])
def test_other_archives_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sample.npz"
    path.write_bytes(content)

    with pytest.raises(InvalidSidecar, match="can't be read"):
        read_sample(path)
