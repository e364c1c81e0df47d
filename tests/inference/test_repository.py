from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from inference.repository import Scan, scan_repository
from inference.types import ModelId

if TYPE_CHECKING:
    from pathlib import Path

HDF5 = b"\x89HDF\r\n\x1a\n"


def lay(root: Path, *paths: str) -> Path:
    """Empty files below `root`; a path that ends with a slash is a folder."""
    root.mkdir(exist_ok=True)

    for path in paths:
        target = root / path

        if path.endswith("/"):
            target.mkdir(parents=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()

    return root


def found(scan: Scan, root: Path) -> dict[str, str]:
    return {
        str(model.id): model.path.relative_to(root).as_posix() for model in scan.models
    }


def sidecars(scan: Scan, root: Path) -> dict[str, str]:
    return {
        model.id.name: model.sidecar.relative_to(root).as_posix()
        for model in scan.models
        if model.sidecar is not None
    }


@pytest.mark.parametrize(
    ("paths", "models"),
    [
        pytest.param([], {}, id="nothing"),
        pytest.param(
            ["a.h5", "b.keras", "c.pb", "d.hdf5", "E.H5"],
            {
                "a/1": "a.h5",
                "b/1": "b.keras",
                "c/1": "c.pb",
                "d/1": "d.hdf5",
                "E/1": "E.H5",
            },
            id="bare files",
        ),
        pytest.param(["m/model.h5"], {"m/1": "m/model.h5"}, id="a folder"),
        pytest.param(["m/saved_model.pb"], {"m/1": "m"}, id="a SavedModel"),
        pytest.param(["m/saved_model.pbtxt"], {"m/1": "m"}, id="a text SavedModel"),
        pytest.param(
            ["m/1/a.h5", "m/10/b.h5", "m/9/c.h5"], {"m/10": "m/10/b.h5"}, id="newest"
        ),
        pytest.param(
            ["m/3/saved_model.pb", "m/3/variables/variables.index"],
            {"m/3": "m/3"},
            id="a SavedModel's version",
        ),
        pytest.param(
            ["m/2/a.h5", "m/notes.txt", "m/old/b.h5"],
            {"m/2": "m/2/a.h5"},
            id="beside versions",
        ),
        pytest.param(["m/007/a.h5", "m/1/b.h5"], {"m/1": "m/1/b.h5"}, id="no zeros"),
        pytest.param(["notes.txt", "a.json", "a.toml"], {}, id="other files"),
        pytest.param([".a.h5", ".git/b.h5"], {}, id="hidden"),
        pytest.param(["m/.a.h5", "m/b.h5"], {"m/1": "m/b.h5"}, id="hidden inside"),
        pytest.param(
            ["m/a.h5", "m/a.json", "m/labels.txt"], {"m/1": "m/a.h5"}, id="beside one"
        ),
        pytest.param(
            ["b.h5", "a/1/x.pb"], {"a/1": "a/1/x.pb", "b/1": "b.h5"}, id="mixed"
        ),
        pytest.param(
            ["v1.2_final-3.h5"], {"v1.2_final-3/1": "v1.2_final-3.h5"}, id="a dot"
        ),
    ],
)
def test_models(tmp_path: Path, paths: list[str], models: dict[str, str]) -> None:
    scan = scan_repository(lay(tmp_path / "models", *paths))

    assert found(scan, tmp_path / "models") == models
    assert scan.problems == []


@pytest.mark.parametrize(
    ("paths", "models", "words"),
    [
        pytest.param(["a b.h5"], {}, ["a b.h5", "'a b'", "rename"], id="a space"),
        pytest.param(["-a.h5"], {}, ["'-a'"], id="a dash"),
        pytest.param(["é.h5"], {}, ["'é'"], id="an accent"),
        pytest.param([f"{'a' * 129}.h5"], {}, ["aaa"], id="too long"),
        pytest.param(
            ["a.h5", "a.keras"],
            {"a/1": "a.h5"},
            ["a.keras", "served from a.h5"],
            id="twice",
        ),
        pytest.param(
            ["a.h5", "a/model.h5"],
            {"a/1": "a/model.h5"},
            ["a.h5", "already"],
            id="folder and file",
        ),
        pytest.param(
            ["m/a.h5", "m/b.h5"], {}, ["several models (a.h5, b.h5)"], id="several"
        ),
        pytest.param(["m/notes.txt"], {}, ["m:", "no model"], id="none"),
        pytest.param(["m/"], {}, ["m:", "no model"], id="empty"),
        pytest.param(["m/2/", "m/1/a.h5"], {}, ["m: 2/ holds no model"], id="newest"),
    ],
)
def test_problems(
    tmp_path: Path, paths: list[str], models: dict[str, str], words: list[str]
) -> None:
    scan = scan_repository(lay(tmp_path / "models", *paths, "good.pb"))

    assert found(scan, tmp_path / "models") == models | {"good/1": "good.pb"}
    (problem,) = scan.problems
    assert [word for word in words if word not in problem] == []


def test_a_file_without_a_suffix_is_a_model_if_it_is_hdf5(tmp_path: Path) -> None:
    lay(tmp_path, "hdf5", "other", "short")
    (tmp_path / "hdf5").write_bytes(HDF5 + b"more")
    (tmp_path / "other").write_bytes(b"PK\x03\x04 and more")

    assert found(scan_repository(tmp_path), tmp_path) == {"hdf5/1": "hdf5"}


@pytest.mark.parametrize(
    ("paths", "root", "model"),
    [
        (["flowers.h5", "other.h5"], "flowers.h5", "flowers/1"),
        (["flowers/saved_model.pb"], "flowers", "flowers/1"),
        (["flowers/12/saved_model.pb", "flowers/13/x.h5"], "flowers/12", "flowers/12"),
    ],
)
def test_one_model_itself(
    tmp_path: Path, paths: list[str], root: str, model: str
) -> None:
    scan = scan_repository(lay(tmp_path, *paths) / root)

    assert [str(each.id) for each in scan.models] == [model]
    assert scan.models[0].path == tmp_path / root


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
def test_the_nearest_sidecar(
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
def test_the_sidecar_of_one_model_itself(
    tmp_path: Path, paths: list[str], root: str, sidecar: str
) -> None:
    scan = scan_repository(lay(tmp_path, *paths) / root)

    assert sidecars(scan, tmp_path) == {"m": sidecar}


def test_a_repository_that_isnt_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        scan_repository(tmp_path / "none")


def test_a_folder_of_versions_is_one_model(tmp_path: Path) -> None:
    """TensorFlow Serving's `model_base_path`, given itself."""
    for version in ("3", "12"):
        (tmp_path / "ranking" / version).mkdir(parents=True)
        (tmp_path / "ranking" / version / "saved_model.pb").touch()

    scan = scan_repository(tmp_path / "ranking")

    assert [files.id for files in scan.models] == [ModelId("ranking", 12)]
    assert scan.problems == []


def test_models_of_other_frameworks_are_named(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").touch()
    (tmp_path / "notes.txt").touch()

    scan = scan_repository(tmp_path)

    assert scan.models == []
    assert len(scan.problems) == 1
    assert "net.onnx" in scan.problems[0]
