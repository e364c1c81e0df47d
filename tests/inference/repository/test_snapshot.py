from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from inference.repository import snapshot as module
from inference.repository.fingerprint import take_fingerprint
from inference.repository.snapshot import RepositoryScanner, RepositorySnapshot
from tests.inference.repository.test_scan import lay

if TYPE_CHECKING:
    from pathlib import Path

    from inference.repository.fingerprint import Fingerprint
    from inference.repository.scan import ModelFiles

QUIET_SECONDS = 30.0
SIDECAR = """
pinned = true
versions = { latest = 2 }
labels = { stable = 1 }
"""


class Clock:
    """A clock that only tests advance; it starts before any file was written."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def pass_from(self, path: Path, seconds: float) -> None:
        """Set the clock to some time after the last change to `path`."""
        self.seconds = path.stat().st_ctime + seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def quiet(snapshot: RepositorySnapshot) -> dict[str, bool]:
    return {
        str(version.files.id): version.quiet
        for model in snapshot.models.values()
        for version in model.versions.values()
    }


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_all_versions_are_found(tmp_path: Path) -> None:
    lay(tmp_path, "b.h5", *(f"m/{number}/a.h5" for number in (1, 2, 10)))
    snapshot = RepositoryScanner(tmp_path, quiet_seconds=0).scan()

    assert {name: list(model.versions) for name, model in snapshot.models.items()} == {
        "b": [1],
        "m": [1, 2, 10],
    }
    assert snapshot.models["m"].versions[2].files.path == tmp_path / "m/2/a.h5"
    assert snapshot.problems == []
    assert snapshot.uncertain == frozenset()


@pytest.mark.parametrize(
    ("sidecar", "served"),
    [
        pytest.param("", [10], id="without one"),
        pytest.param("versions = { latest = 2 }", [2, 10], id="latest"),
        pytest.param("versions = { all = true }", [1, 2, 10], id="all"),
        pytest.param("versions = { only = [1, 2] }", [1, 2], id="only"),
        pytest.param("labels = { stable = 1 }", [1, 10], id="a label"),
    ],
)
def test_wanted_versions_are_listed(
    tmp_path: Path, sidecar: str, served: list[int]
) -> None:
    lay(tmp_path, *(f"m/{number}/a.h5" for number in (1, 2, 10)), "b.h5")
    write(tmp_path / "m/model.toml", sidecar)
    snapshot = RepositoryScanner(tmp_path, quiet_seconds=0).scan()

    assert snapshot.models["m"].wanted() == served
    assert [str(files.id) for files in snapshot.wanted()] == [
        "b/1",
        *(f"m/{version}" for version in served),
    ]


def test_declaration_is_read_from_the_model_sidecar(tmp_path: Path) -> None:
    lay(tmp_path, "m/1/a.h5", "b.h5")
    write(tmp_path / "m/model.toml", SIDECAR)
    write(tmp_path / "m/1/model.toml", "labels = { ignored = 1 }")
    write(tmp_path / "b.toml", "pinned = true")
    models = RepositoryScanner(tmp_path, quiet_seconds=0).scan().models

    assert models["m"].declaration.table.latest == 2
    assert models["m"].declaration.labels == {"stable": 1}
    assert models["m"].declaration.pinned
    assert models["b"].declaration.pinned
    assert models["b"].declaration.labels == {}


def test_named_missing_versions_are_problems(tmp_path: Path) -> None:
    lay(tmp_path, "m/1/a.h5", "b.h5")
    write(tmp_path / "m/model.toml", "versions = { only = [1, 7] }")
    write(tmp_path / "b.toml", "labels = { stable = 9 }")
    snapshot = RepositoryScanner(tmp_path, quiet_seconds=0).scan()

    assert snapshot.problems == [
        "b: version 9 isn't there; the label 'stable' points at it.",
        "m: version 7 isn't there; the sidecar's [versions] names it.",
    ]
    assert snapshot.uncertain == frozenset()


def test_problems_of_the_scan_are_kept(tmp_path: Path) -> None:
    lay(tmp_path, "m/1/a.h5", "m/2/", "m/01/", "b c.h5")
    snapshot = RepositoryScanner(tmp_path, quiet_seconds=0).scan()

    assert [problem.partition(":")[0] for problem in snapshot.problems] == [
        "b c.h5",
        "m/01",
        "m/2",
    ]
    assert snapshot.uncertain == {"m"}


def test_new_version_is_quiet_some_time_after_its_last_change(
    tmp_path: Path, clock: Clock
) -> None:
    lay(tmp_path, "m/1/a.h5", "m/1/model.toml")
    path = tmp_path / "m/1/a.h5"
    os.utime(path, (0, 0))

    for seconds, is_quiet in ((-1, False), (0, False), (29, False), (31, True)):
        clock.pass_from(path, seconds)
        scanner = RepositoryScanner(tmp_path, quiet_seconds=QUIET_SECONDS, clock=clock)
        assert quiet(scanner.scan()) == {"m/1": is_quiet}


@pytest.mark.parametrize("root", [".", "m.h5"])
def test_other_files_beside_a_bare_file_keep_it_quiet(
    tmp_path: Path, clock: Clock, root: str
) -> None:
    """The folder of all bare files changes with each of them; it is ignored."""
    lay(tmp_path, "m.h5", "-")
    path = tmp_path / "m.h5"

    while tmp_path.stat().st_ctime <= path.stat().st_ctime:
        (tmp_path / "other.txt").touch()
        (tmp_path / "other.txt").unlink()

    clock.pass_from(path, QUIET_SECONDS)
    scanner = RepositoryScanner(
        tmp_path / root, quiet_seconds=QUIET_SECONDS, clock=clock
    )

    assert quiet(scanner.scan()) == {"m/1": True}


def test_second_scan_finds_an_unchanged_version_quiet(
    tmp_path: Path, clock: Clock
) -> None:
    """Growing files differ in each snapshot."""
    lay(tmp_path, "m/1/a.h5", "still.h5")
    scanner = RepositoryScanner(tmp_path, quiet_seconds=QUIET_SECONDS, clock=clock)
    path = tmp_path / "m/1/a.h5"
    assert quiet(scanner.scan()) == {"m/1": False, "still/1": False}

    for size in (1, 2):
        path.write_bytes(b"x" * size)
        assert quiet(scanner.scan()) == {"m/1": False, "still/1": True}

    assert quiet(scanner.scan()) == {"m/1": True, "still/1": True}

    # A version that changes isn't at its first sight: time alone doesn't make it quiet.
    path.write_bytes(b"")
    clock.pass_from(path, QUIET_SECONDS * 2)
    assert quiet(scanner.scan()) == {"m/1": False, "still/1": True}
    assert quiet(scanner.scan()) == {"m/1": True, "still/1": True}


def test_everything_is_quiet_without_a_quiet_time(tmp_path: Path, clock: Clock) -> None:
    lay(tmp_path, "m.h5", "-")
    scanner = RepositoryScanner(tmp_path, quiet_seconds=0, clock=clock)
    assert quiet(scanner.scan()) == {"m/1": True}

    (tmp_path / "m.h5").write_bytes(b"x")

    assert quiet(scanner.scan()) == {"m/1": True}


def test_only_the_new_version_waits(tmp_path: Path, clock: Clock) -> None:
    lay(tmp_path, "m/1/a.h5", "b.h5")
    scanner = RepositoryScanner(tmp_path, quiet_seconds=QUIET_SECONDS, clock=clock)
    scanner.scan()
    lay(tmp_path, "m/2/a.h5")

    assert quiet(scanner.scan()) == {"m/1": True, "m/2": False, "b/1": True}
    assert quiet(scanner.scan()) == {"m/1": True, "m/2": True, "b/1": True}


def test_broken_sidecar_keeps_the_last_declaration(tmp_path: Path) -> None:
    lay(tmp_path, *(f"m/{number}/a.h5" for number in (1, 2, 3)), "b.h5")
    write(tmp_path / "m/model.toml", SIDECAR)
    scanner = RepositoryScanner(tmp_path, quiet_seconds=0)
    before = scanner.scan().models["m"]

    for _ in range(2):
        write(tmp_path / "m/model.toml", "labels = [")
        snapshot = scanner.scan()
        after = snapshot.models["m"]
        (problem,) = snapshot.problems

        assert after.declaration == before.declaration
        assert after.declaration.pinned
        assert after.wanted() == [1, 2, 3]
        assert problem.startswith("m: model.toml: it isn't valid TOML")
        assert snapshot.uncertain == {"m"}

    write(tmp_path / "m/model.toml", "")
    assert scanner.scan().models["m"].wanted() == [3]


def test_sidecar_broken_from_the_start_is_empty(tmp_path: Path) -> None:
    lay(tmp_path, "m/1/a.h5", "m/2/a.h5", "b.h5")
    write(tmp_path / "m/model.toml", "versions = { latest = 0 }")
    snapshot = RepositoryScanner(tmp_path, quiet_seconds=0).scan()

    assert snapshot.models["m"].wanted() == [2]
    assert snapshot.uncertain == {"m"}
    assert "'versions.latest'" in snapshot.problems[0]


def test_version_removed_during_the_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is removed between its discovery and its fingerprint."""
    lay(tmp_path, "m/1/a.h5", "m/2/a.h5", "b.h5")

    def vanishing(files: ModelFiles, *, folder: bool) -> Fingerprint:
        if files.id.version == 2:
            files.path.unlink()

        return take_fingerprint(files, folder=folder)

    monkeypatch.setattr(module, "take_fingerprint", vanishing)
    snapshot = RepositoryScanner(tmp_path, quiet_seconds=0).scan()

    assert quiet(snapshot) == {"b/1": True, "m/1": True}
    assert snapshot.problems == []
    assert snapshot.uncertain == {"m"}


def test_uncertain_model_is_remembered(tmp_path: Path) -> None:
    lay(tmp_path, "m/1/a.h5", "m/2/a.h5", "b.h5")
    write(tmp_path / "m/model.toml", SIDECAR)
    scanner = RepositoryScanner(tmp_path, quiet_seconds=0)
    scanner.scan()

    (tmp_path / "m/model.toml").unlink()
    (tmp_path / "m/model.toml").symlink_to("none")
    snapshot = scanner.scan()
    assert "m" not in snapshot.models
    assert snapshot.uncertain == {"m"}

    (tmp_path / "m/model.toml").unlink()
    write(tmp_path / "m/model.toml", "[")
    assert scanner.scan().models["m"].declaration.labels == {"stable": 1}


def test_one_models_folder_stays_one(tmp_path: Path) -> None:
    root = lay(tmp_path / "m", "4/a.h5")
    scanner = RepositoryScanner(root, quiet_seconds=0)
    assert quiet(scanner.scan()) == {"m/4": True}

    lay(root, "incoming/a.h5")

    assert quiet(scanner.scan()) == {"m/4": True}


def test_repository_that_returns_is_scanned_again(tmp_path: Path, clock: Clock) -> None:
    root = lay(tmp_path / "root", "m.h5")
    scanner = RepositoryScanner(root, quiet_seconds=QUIET_SECONDS, clock=clock)
    scanner.scan()
    root.rename(tmp_path / "away")

    with pytest.raises(FileNotFoundError):
        scanner.scan()

    (tmp_path / "away").rename(root)

    assert quiet(scanner.scan()) == {"m/1": True}


def test_a_scanner_of_a_name_keeps_its_model_while_another_lies_beside_it(
    tmp_path: Path,
) -> None:
    scanner = RepositoryScanner(tmp_path, quiet_seconds=0, name="here")
    (tmp_path / "a.h5").touch()
    assert list(scanner.scan().models) == ["here"]

    (tmp_path / "b.h5").touch()
    snapshot = scanner.scan()

    assert snapshot.uncertain == {"here"}
    assert "holds several models" in snapshot.passed_over["here"][0]
