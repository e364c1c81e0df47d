from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import pytest

from inference.system.versions import version_of

if TYPE_CHECKING:
    from pathlib import Path


def test_tells_what_is_installed() -> None:
    assert version_of("keras") == version("keras")
    assert version_of("tensorflow") == version("tensorflow")


def test_knows_tensorflow_by_its_build_for_cpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = tmp_path / "tensorflow_cpu-9.8.7.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: tensorflow-cpu\nVersion: 9.8.7\n")
    monkeypatch.setattr("sys.path", [str(tmp_path)])

    assert version_of("tensorflow") == "9.8.7"


def test_names_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [str(tmp_path)])

    with pytest.raises(PackageNotFoundError, match="tensorflow"):
        version_of("tensorflow")
