from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference import UNNAMED, InvalidRequest
from service.bulk.sources import CHUNK_BYTES, ArchiveFile, ArrayFile, Lines
from service.jobs.rows import BadRows

if TYPE_CHECKING:
    from pathlib import Path


def lines_of(folder: Path, text: bytes) -> Lines:
    path = folder / "rows.ndjson"
    path.write_bytes(text)
    return Lines(path)


def array_of(folder: Path, array: Any) -> ArrayFile:
    np.save(folder / "rows.npy", array)
    return ArrayFile(folder / "rows.npy")


@pytest.mark.parametrize(
    ("skip", "chunks"),
    [
        pytest.param(0, [[b"1", b"2"], [b"3", b"4"], [b"5"]], id="all"),
        pytest.param(3, [[b"4", b"5"]], id="after the first three"),
        pytest.param(5, [], id="after all"),
    ],
)
def test_lines_come_in_chunks(
    tmp_path: Path, skip: int, chunks: list[list[bytes]]
) -> None:
    source = lines_of(tmp_path, b"1\n2\n\n3\n4\n5")

    assert list(source.chunks(skip, lambda: 2)) == chunks
    assert source.total == 5


def test_long_lines_make_short_chunks(tmp_path: Path) -> None:
    line = b'"%s"' % (b"x" * (CHUNK_BYTES // 2))
    source = lines_of(tmp_path, b"\n".join([line] * 3))

    assert [len(rows) for rows in source.chunks(0, lambda: 64)] == [1, 1, 1]


def test_standard_input_has_lines_of_unknown_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"1\n2\n")))
    source = Lines(None)

    assert source.total is None
    assert list(source.chunks(0, lambda: 64)) == [[b"1", b"2"]]


def test_lines_are_instances(tmp_path: Path) -> None:
    source = lines_of(tmp_path, b"1\n")

    inputs = source.inputs([b'{"x": [1, 2], "y": "a"}', b'{"x": [3, 4], "y": "b"}'])

    assert set(inputs) == {"x", "y"}
    assert list(inputs["y"]) == ["a", "b"]


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([b"[1], [2]"], id="two on a line"),
        pytest.param([b"[1,", b"2]"], id="one on two lines"),
        pytest.param([b"{"], id="cut short"),
    ],
)
def test_lines_that_are_no_json_are_refused(tmp_path: Path, rows: list[bytes]) -> None:
    source = lines_of(tmp_path, b"1\n")

    with pytest.raises(InvalidRequest, match="isn't JSON"):
        source.inputs(rows)


@pytest.mark.parametrize(
    ("skip", "sizes"),
    [
        pytest.param(0, [2, 2, 1], id="all"),
        pytest.param(3, [2], id="after the first three"),
        pytest.param(5, [], id="after all"),
    ],
)
def test_an_array_comes_in_chunks(tmp_path: Path, skip: int, sizes: list[int]) -> None:
    array = np.arange(15, dtype=">f4").reshape(5, 3)
    source = array_of(tmp_path, array)
    chunks = list(source.chunks(skip, lambda: 2))

    assert [len(chunk) for chunk in chunks] == sizes
    assert all(chunk.dtype.isnative for chunk in chunks)
    np.testing.assert_array_equal(
        np.concatenate([np.empty((0, 3)), *chunks]), array[skip:]
    )
    assert source.total == 5


def test_large_rows_make_short_chunks(tmp_path: Path) -> None:
    source = array_of(tmp_path, np.zeros((3, CHUNK_BYTES), np.uint8))

    assert [len(rows) for rows in source.chunks(0, lambda: 64)] == [1, 1, 1]


def test_an_array_is_the_only_input(tmp_path: Path) -> None:
    rows = np.ones(2)

    assert array_of(tmp_path, rows).inputs(rows) == {UNNAMED: rows}


@pytest.mark.parametrize("cut", [10, 100, 129], ids=["magic", "head", "rows"])
def test_an_array_that_is_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, np.zeros(5))
    path.write_bytes(path.read_bytes()[:cut])

    with pytest.raises(BadRows):
        ArrayFile(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_the_arrays_of_an_archive_are_read_together(tmp_path: Path, save: Any) -> None:
    path, x = tmp_path / "rows.npz", np.arange(10, dtype=">f4").reshape(5, 2)
    save(path, x=x, on=np.arange(5) > 2)
    source = ArchiveFile(path)
    chunks = [source.inputs(rows) for rows in source.chunks(1, lambda: 3)]

    assert source.total == 5
    assert [list(chunk) for chunk in chunks] == [["x", "on"]] * 2
    np.testing.assert_array_equal(chunks[0]["x"], x[1:4])
    np.testing.assert_array_equal(chunks[1]["on"], [True])
    assert chunks[0]["x"].flags.c_contiguous
    assert chunks[0]["x"].dtype.isnative


def test_an_archive_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    path.write_bytes(b"no archive")

    with pytest.raises(BadRows, match="isn't an .npz"):
        ArchiveFile(path)
