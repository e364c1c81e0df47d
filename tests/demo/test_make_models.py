from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from demo import make_models
from demo.make_models import main

if TYPE_CHECKING:
    from pathlib import Path

    from tests.demo.conftest import Made

MODELS = ["digits.pb", "digits_cnn.h5", "half_plus_two", "wine.keras"]


def test_makes_a_model_of_each_format(made: Made) -> None:
    files = sorted(path.name for path in made.folder.iterdir())
    assert files == sorted([*MODELS, "digits_cnn.toml"])


def test_leaves_nothing_else_behind(made: Made) -> None:
    assert list(made.folder.parent.iterdir()) == [made.folder]


def test_other_users_may_read_the_folder(made: Made) -> None:
    assert made.folder.stat().st_mode & 0o055 == 0o055


def test_prints_only_the_score_of_each_model(made: Made) -> None:
    names = [line.split()[0] for line in made.stdout.splitlines()]

    assert sorted(names) == MODELS
    assert made.stdout.count("held-out rows right") == 3
    assert "1, 2, 5 give 2.5, 3.0, 4.5" in made.stdout
    assert made.stderr == ""


def test_fills_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_models, "write_models", write_one)
    (tmp_path / "models").mkdir()

    assert run(monkeypatch, tmp_path / "models") == 0
    assert (tmp_path / "models" / "one.pb").is_file()


def test_refuses_a_folder_that_is_not_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(make_models, "write_models", write_one)
    mine = tmp_path / "mine.h5"
    mine.touch()

    assert run(monkeypatch, tmp_path) == 1
    assert f"{tmp_path} is not empty" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [mine]


def test_an_interrupted_run_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(folder: Path) -> None:
        write_one(folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(make_models, "write_models", interrupted)

    with pytest.raises(KeyboardInterrupt):
        run(monkeypatch, tmp_path / "models")

    assert list(tmp_path.iterdir()) == []


def test_a_folder_or_a_file_must_be_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch)

    assert "name a FOLDER" in capsys.readouterr().err


def write_one(folder: Path) -> None:
    (folder / "one.pb").touch()


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["make_models", *map(str, arguments)])
    return main()
