"""Processes that share their figures; folders opened twice stand for two processes."""

from __future__ import annotations

import fcntl
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from service.telemetry import sharing
from service.telemetry.sharing import FigureFolder, FiguresUnreadable

if TYPE_CHECKING:
    from pathlib import Path

    from service.telemetry.figures import Figures


def figures(loads: float, memory: float = 0.0) -> Figures:
    return {
        "tandem_model_loads": {(): loads},
        "tandem_models_memory_bytes": {(): memory},
    }


def test_the_same_total_is_read_by_all(tmp_path: Path) -> None:
    with FigureFolder(tmp_path) as one, FigureFolder(tmp_path) as other:
        other.publish(figures(2, 20))

        assert one.total(figures(1, 10)) == figures(3, 30)
        assert other.total(figures(2, 20)) == figures(3, 30)


def test_a_total_is_never_less_than_one_before(tmp_path: Path) -> None:
    """Though the process that was read before hasn't published since."""
    with FigureFolder(tmp_path) as one, FigureFolder(tmp_path) as other:
        one.publish(figures(1))

        assert one.total(figures(5)) == figures(5)
        assert other.total(figures(0)) == figures(5)


def test_an_ended_process_counts_once_and_takes_no_memory(tmp_path: Path) -> None:
    with FigureFolder(tmp_path) as one:
        for _ in range(3):
            with FigureFolder(tmp_path) as other:
                other.publish(figures(2, 20))

        for _ in range(2):
            assert one.total(figures(1, 10)) == figures(7, 10)

        left = sorted(path.suffix for path in tmp_path.iterdir())
        assert left == ["", ".alive", ".figures", ".figures"]


def test_a_process_that_counted_nothing_is_forgotten(tmp_path: Path) -> None:
    with FigureFolder(tmp_path) as one:
        with FigureFolder(tmp_path):
            pass

        assert one.total(figures(1)) == figures(1)
        assert len([*tmp_path.glob("*.alive")]) == 1


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    with FigureFolder(tmp_path / "deep" / "folder") as folder:
        (tmp_path / "deep").rename(tmp_path / "other")

        with pytest.raises(FiguresUnreadable, match="No such file.*--metrics-dir"):
            folder.total(figures(1))

        with pytest.raises(FiguresUnreadable, match="No such file"):
            folder.publish(figures(1))


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(FiguresUnreadable, match="File exists"), ExitStack() as stack:
        stack.enter_context(FigureFolder(tmp_path / "file"))


def test_a_stopped_process_holds_nobody_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "LOCK_SECONDS", 0.0)

    with FigureFolder(tmp_path) as folder, (tmp_path / "folder").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        with pytest.raises(FiguresUnreadable, match="stopped"):
            folder.total(figures(1))
