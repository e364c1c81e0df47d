"""The file of a model's classes, beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from inference.errors import InvalidSidecar
from inference.repository.classes import MAX_BYTES, read_classes
from inference.repository.sidecar import Sidecar

if TYPE_CHECKING:
    from pathlib import Path

NAMED = Sidecar(classes="labels.txt")


def read(folder: Path, text: bytes) -> tuple[str, ...]:
    (folder / "labels.txt").write_bytes(text)
    return read_classes(folder / "model.toml", NAMED)


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        pytest.param(b"cat\ndog\n", ("cat", "dog"), id="lines"),
        pytest.param(b"cat\ndog", ("cat", "dog"), id="no last newline"),
        pytest.param(b"cat\r\ndog\r\n", ("cat", "dog"), id="of Windows"),
        pytest.param("\ufeff\u00f6wl\n".encode(), ("\u00f6wl",), id="with a mark"),
        pytest.param(b"great tit \n", ("great tit",), id="with spaces"),
        pytest.param(b"a\x0cb\n", ("a\x0cb",), id="a form feed ends no line"),
    ],
)
def test_a_line_is_a_class(tmp_path: Path, text: bytes, classes: object) -> None:
    assert read(tmp_path, text) == classes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(b"", "line 1 of 'labels.txt' is empty", id="nothing"),
        pytest.param(b"a\n\nb\n", "line 2 of 'labels.txt' is empty", id="a gap"),
        pytest.param(b"\xff\xfe", "isn't text in UTF-8", id="another encoding"),
        pytest.param(b"a" * (MAX_BYTES + 1), "at most 4,194,304", id="too large"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: bytes, message: str) -> None:
    with pytest.raises(InvalidSidecar, match=message):
        read(tmp_path, text)


def test_a_missing_file_and_one_elsewhere_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidSidecar, match="'classes' names 'labels.txt', which isn't"
    ):
        read_classes(tmp_path / "model.toml", NAMED)

    with pytest.raises(InvalidSidecar, match="isn't in the sidecar's folder"):
        read_classes(tmp_path / "model.toml", Sidecar(classes="../labels.txt"))


def test_without_the_key_there_are_none(tmp_path: Path) -> None:
    assert read_classes(None, Sidecar()) == ()
    assert read_classes(tmp_path / "model.toml", Sidecar()) == ()
