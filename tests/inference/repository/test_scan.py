from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from inference.repository.scan import ModelFiles, scan_repository

if TYPE_CHECKING:
    from pathlib import Path

    from inference.repository.scan import Scan

HDF5 = b"\x89HDF\r\n\x1a\n"


def lay(root: Path, *paths: str) -> Path:
    """Create empty files below `root`; a path that ends with a slash is a folder."""
    root.mkdir(exist_ok=True)

    for path in paths:
        target = root / path

        if path.endswith("/"):
            target.mkdir(parents=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()

    return root


def versions(scan: Scan) -> list[ModelFiles]:
    return [files for entry in scan.entries for files in entry.versions]


def found(scan: Scan, root: Path) -> dict[str, str]:
    return {
        str(files.id): files.path.relative_to(root).as_posix()
        for files in versions(scan)
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
            ["m/1/a.h5", "m/10/b.h5", "m/9/c.h5"],
            {"m/1": "m/1/a.h5", "m/9": "m/9/c.h5", "m/10": "m/10/b.h5"},
            id="versions",
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
def test_models_are_found(
    tmp_path: Path, paths: list[str], models: dict[str, str]
) -> None:
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
        pytest.param(
            ["m/1/model.onnx"], {}, ["m/1: holds no", "model.onnx is of"], id="foreign"
        ),
        pytest.param(
            ["m/2/", "m/1/a.h5"], {"m/1": "m/1/a.h5"}, ["m/2: holds no"], id="one empty"
        ),
        pytest.param(
            ["m/abc/a.h5"],
            {},
            ["m: holds no", "abc/a.h5 in it is one", "move it to m/1/a.h5"],
            id="no number",
        ),
        pytest.param(
            ["m/export/Servo/1/saved_model.pb"],
            {},
            ["m: holds no", "export/Servo/1 in it is one", "move it to m/1."],
            id="SageMaker",
        ),
        pytest.param(
            ["m/7/export/Servo/1/saved_model.pb"],
            {},
            ["m/7: holds no", "export/Servo/1 in it is one", "move it to 7."],
            id="SageMaker in a version",
        ),
        pytest.param(
            ["runs/0/ab12/artifacts/model/data/model.keras"],
            {},
            ["runs: holds no", "0/ab12/artifacts/model/data/model.keras in it"],
            id="MLflow",
        ),
        pytest.param(
            ["m/a/b/c/d/e/f/g.h5"], {}, ["m: holds no", "1, 2, 3"], id="too deep"
        ),
        pytest.param(["m/model.toml/", "m/1/a.h5"], {}, ["isn't a file"], id="sidecar"),
    ],
)
def test_problems_are_reported(
    tmp_path: Path, paths: list[str], models: dict[str, str], words: list[str]
) -> None:
    scan = scan_repository(lay(tmp_path / "models", *paths, "good.pb"))

    assert found(scan, tmp_path / "models") == models | {"good/1": "good.pb"}
    (problem,) = scan.problems
    assert [word for word in words if word not in problem] == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("01", True),
        ("-1", True),
        ("+1", True),
        ("1.5", True),
        ("0", True),
        ("v2", True),
        ("1_0", True),
        ("1" * 19, True),
        ("abc", False),
        ("5.tmp", False),
        ("٣", False),
    ],
)
def test_misnamed_versions_are_reported(tmp_path: Path, name: str, meant: bool) -> None:
    scan = scan_repository(lay(tmp_path, f"m/{name}/a.h5", "m/1/b.h5", "b.h5"))

    assert [str(files.id) for files in versions(scan)] == ["b/1", "m/1"]
    assert [problem.partition(":")[0] for problem in scan.problems] == [
        f"m/{name}"
    ] * meant
    assert scan.uncertain == set()


def test_versions_are_sorted_as_numbers(tmp_path: Path) -> None:
    scan = scan_repository(
        lay(tmp_path, *(f"m/{n}/a.h5" for n in (10, 9, 100)), "b.h5")
    )

    assert [files.id.version for files in scan.entries[1].versions] == [9, 10, 100]


@pytest.mark.parametrize(
    ("paths", "uncertain"),
    [
        pytest.param(["m/", "n.h5"], {"m"}, id="a model without a file"),
        pytest.param(["m/1/a.h5", "m/2/"], {"m"}, id="a version without a file"),
        pytest.param(["m/a.h5", "m/b.h5"], {"m"}, id="several"),
        pytest.param(["m.h5", "m.keras"], set(), id="a duplicate is certain"),
        pytest.param(["m/1/a.h5", "m/2/a.h5"], set(), id="no problem"),
    ],
)
def test_names_with_problems_are_uncertain(
    tmp_path: Path, paths: list[str], uncertain: set[str]
) -> None:
    assert scan_repository(lay(tmp_path, *paths, "z.h5")).uncertain == uncertain


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
def test_one_model_given_itself(
    tmp_path: Path, paths: list[str], root: str, model: str
) -> None:
    scan = scan_repository(lay(tmp_path, *paths) / root)

    assert [str(each.id) for each in versions(scan)] == [model]
    assert versions(scan)[0].path == tmp_path / root


def test_missing_repository_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        scan_repository(tmp_path / "none")


def test_a_folder_of_versions_is_one_model(tmp_path: Path) -> None:
    """TensorFlow Serving's `model_base_path`, given itself."""
    for version in ("3", "12"):
        (tmp_path / "ranking" / version).mkdir(parents=True)
        (tmp_path / "ranking" / version / "saved_model.pb").touch()

    scan = scan_repository(tmp_path / "ranking")

    assert [files.id.version for files in versions(scan)] == [3, 12]
    assert scan.problems == []


def test_models_of_other_frameworks_are_named(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").touch()
    (tmp_path / "notes.txt").touch()

    scan = scan_repository(tmp_path)

    assert scan.entries == []
    assert len(scan.problems) == 1
    assert "net.onnx" in scan.problems[0]


NAMED = [
    pytest.param(["flowers.h5"], {"here/1": "flowers.h5"}, id="a file in it"),
    pytest.param(["saved_model.pb"], {"here/1": "."}, id="a SavedModel"),
    pytest.param(
        ["1/saved_model.pb", "2/a.h5"],
        {"here/1": "1", "here/2": "2/a.h5"},
        id="versions",
    ),
    pytest.param(
        ["1/a.h5", "notes.txt", "old/b.h5"], {"here/1": "1/a.h5"}, id="beside versions"
    ),
    pytest.param(["a.keras", "b.json"], {"here/1": "a.keras"}, id="beside others"),
]


@pytest.mark.parametrize(("paths", "models"), NAMED)
def test_a_root_of_a_name_is_one_model(
    tmp_path: Path, paths: list[str], models: dict[str, str]
) -> None:
    root = lay(tmp_path / "mount", *paths)
    scan = scan_repository(root, name="here")

    assert found(scan, root) == models
    assert scan.problems == []


def test_a_file_of_a_name_keeps_its_companions(tmp_path: Path) -> None:
    root = lay(tmp_path, "flowers.h5", "flowers.toml", "flowers.warmup.jsonl")
    [files] = versions(scan_repository(root / "flowers.h5", name="here"))

    assert str(files.id) == "here/1"
    assert files.sidecar == root / "flowers.toml"
    assert files.warmup == root / "flowers.warmup.jsonl"


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        pytest.param([], "holds no model", id="nothing"),
        pytest.param(["a.h5", "b.h5"], "several models (a.h5, b.h5)", id="two"),
        pytest.param(["m/1/a.h5"], "m/1/a.h5 in it is one", id="deeper"),
    ],
)
def test_a_root_of_a_name_that_isnt_one_model_says_so(
    tmp_path: Path, paths: list[str], words: str
) -> None:
    root = lay(tmp_path / "mount", *paths)
    scan = scan_repository(root, name="here")

    assert versions(scan) == []
    assert scan.uncertain == {"here"}
    [problem] = scan.passed_over["here"]
    assert words in problem
