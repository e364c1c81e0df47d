"""Arrays by name as rows, and results as arrays by name."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.jobs.npz import (
    LIST_BYTES,
    MOST_ARRAYS,
    PIECE_BYTES,
    record_pieces,
    result_archive,
)
from service.jobs.rows import NPZ, BadRows, error_line, row_reader
from service.jobs.store import BodyTooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

MOST_BYTES = 1 << 30
X = np.arange(6, dtype=np.float32).reshape(3, 2) / 3


def saved(save: Callable[..., None] = np.savez, /, **arrays: Any) -> bytes:
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def zipped(
    members: dict[str, bytes], method: int = zipfile.ZIP_STORED, extra: bytes = b""
) -> bytes:
    file = io.BytesIO()

    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)

    return file.getvalue() + extra


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def instances(body: bytes, most_bytes: int = MOST_BYTES) -> list[dict[str, Any]]:
    """Return the rows of an `.npz` as a call has them."""
    reader = row_reader(NPZ, 1 << 20)
    found: list[dict[str, Any]] = []

    # A file in memory raises other errors for places that aren't there.
    with TemporaryFile() as file:
        file.write(body)

        for piece in record_pieces(file, most_bytes):
            rows = reader.feed(piece)
            found += json.loads(reader.instances(rows)) if rows else []

    assert reader.end() == []
    return found


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "arrays",
    [
        pytest.param({"x": X}, id="one"),
        pytest.param({"x": X, "y": np.arange(3)}, id="several"),
        pytest.param({"x": X.astype(">f8"), "on": X[:, 0] > 0.5}, id="byte-orders"),
        pytest.param({"größe": X.astype(np.float16)}, id="a-name-in-latin-1"),
        pytest.param({"a/b": X, "file": np.ones((3, 1, 2), np.uint8)}, id="any-name"),
    ],
)
def test_each_row_has_a_value_of_each_array(
    save: Callable[..., None], arrays: dict[str, NDArray[Any]]
) -> None:
    body = zipped({f"{name}.npy": npy(array) for name, array in arrays.items()})
    rows = instances(saved(save, **arrays) if "file" not in arrays else body)

    assert len(rows) == 3
    assert all(list(row) == list(arrays) for row in rows)

    for name, array in arrays.items():
        found = np.array([row[name] for row in rows], array.dtype)
        np.testing.assert_array_equal(found, array)


def test_many_rows_are_read_in_pieces() -> None:
    arrays = {
        "x": np.random.default_rng(1).normal(size=(70_000, 3)).astype(np.float32),
        "y": np.arange(70_000),
    }
    body = saved(np.savez_compressed, **arrays)
    pieces = list(record_pieces(io.BytesIO(body), MOST_BYTES))
    records = np.load(io.BytesIO(b"".join(pieces)))

    assert max(map(len, pieces)) <= PIECE_BYTES
    np.testing.assert_array_equal(records["x"], arrays["x"])
    np.testing.assert_array_equal(records["y"], arrays["y"])


def locked() -> bytes:
    body = bytearray(saved(x=X))
    # The first bit of the flags, of the member and in the list.
    body[6] |= 1
    body[body.index(b"PK\x01\x02") + 8] |= 1
    return bytes(body)


def changed() -> bytes:
    body = bytearray(saved(x=X))
    body[body.index(X.tobytes())] ^= 1
    return bytes(body)


def many() -> bytes:
    return saved(**{f"x{number}": X for number in range(MOST_ARRAYS + 1)})


def twice() -> bytes:
    file = io.BytesIO()

    with zipfile.ZipFile(file, "w") as archive, pytest.warns(UserWarning):
        archive.writestr("x.npy", npy(X))
        archive.writestr("x.npy", npy(X))

    return file.getvalue()


def long_list() -> bytes:
    body = bytearray(saved(x=X))
    place = body.index(b"PK\x05\x06")
    body[place + 12 : place + 16] = (LIST_BYTES + 1).to_bytes(4, "little")
    return bytes(body[:place]) + bytes(LIST_BYTES + 1) + bytes(body[place:])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(b"", "isn't an .npz", id="nothing"),
        pytest.param(b"hello, it is text" * 9, "isn't an .npz", id="text"),
        pytest.param(npy(X), "isn't an .npz", id="an-npy"),
        pytest.param(saved(x=X)[:-30], "isn't an .npz", id="cut-short"),
        pytest.param(saved(), "0 arrays", id="empty"),
        pytest.param(many(), f"1 to {MOST_ARRAYS}", id="too-many"),
        pytest.param(twice(), "name of its own", id="a-name-twice"),
        pytest.param(zipped({"x.txt": b"1"}), "numpy.savez", id="no-array"),
        pytest.param(zipped({"x.npy": b"1"}), "'x.npy' is cut short", id="no-npy"),
        pytest.param(
            zipped({"x.npy": b"hello, it is text"}), "'x.npy': .*isn't", id="text-in-it"
        ),
        pytest.param(zipped({"x.npy": npy(X)[:-1]}), "is cut short", id="a-short-one"),
        pytest.param(zipped({"x.npy": npy(X) + b"1"}), "is longer", id="a-long-one"),
        pytest.param(
            zipped({"x.npy": npy(X)}, zipfile.ZIP_LZMA), "savez_comp", id="lzma"
        ),
        pytest.param(
            zipped({"x.npy": npy(X)}, zipfile.ZIP_BZIP2), "savez_comp", id="bzip2"
        ),
        pytest.param(locked(), "locked", id="encrypted"),
        pytest.param(changed(), "CRC", id="changed-on-the-way"),
        pytest.param(long_list(), "longer list", id="a-long-list"),
        pytest.param(saved(x=X, y=X[:2]), "'x' has 3 rows and 'y' has 2", id="rows"),
        pytest.param(saved(x=X, y=np.array(1.0)), "no rows", id="a-number"),
        pytest.param(saved(x=np.array([{}])), "object", id="pickles"),
        pytest.param(saved(x=np.array(["a"])), "<U1", id="strings"),
        pytest.param(saved(x=np.asfortranarray(X)), "by columns", id="columns-first"),
        pytest.param(
            saved(x=np.zeros(3, [("a", "<f4")])), "each field", id="records-in-it"
        ),
        pytest.param(
            zipped({"\u4e2d.npy": npy(X)}), "names have", id="a-name-no-npy-has"
        ),
        pytest.param(
            zipped({f"{'x' * 10_000}.npy": npy(X)}), "too long", id="a-long-name"
        ),
    ],
)
def test_bodies_that_are_refused(body: bytes, words: str) -> None:
    with pytest.raises(BadRows, match=words):
        instances(body)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@given(data=st.data())
def test_a_damaged_archive_is_refused_or_read(
    save: Callable[..., None], data: st.DataObject
) -> None:
    body = bytearray(saved(save, x=X, y=np.arange(3)))

    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place] = data.draw(st.sampled_from([0, 1, 127, 128, 255]))

    try:
        rows = instances(bytes(body[: data.draw(st.integers(1, len(body)))]))
    except (BadRows, BodyTooLarge):
        return

    assert len(rows) == 3


def test_more_than_may_be_kept_is_refused_before_it_is_unpacked() -> None:
    body = saved(np.savez_compressed, x=np.zeros(1 << 20, np.uint8))

    assert len(body) < 1 << 13
    with pytest.raises(BodyTooLarge, match="--max-jobs-bytes"):
        instances(body, 1 << 20)


def test_more_than_is_declared_is_never_unpacked() -> None:
    """A bomb that declares to be small: both the member and the list say 200 bytes."""
    size = 1 << 22
    body = saved(np.savez_compressed, x=np.zeros(size, np.uint8))
    lying = body.replace(
        (size + 128).to_bytes(4, "little"), (200).to_bytes(4, "little")
    )
    assert lying != body

    with pytest.raises(BadRows):
        instances(lying)


def test_memory_does_not_grow_with_what_is_unpacked() -> None:
    size = 64 << 20
    body = io.BytesIO(saved(np.savez_compressed, x=np.zeros((size // 8, 8), np.uint8)))
    tracemalloc.start()

    try:
        total = sum(map(len, record_pieces(body, MOST_BYTES)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert total > size
    assert peak < 8 * PIECE_BYTES


def archived(values: list[Any], size: int = 1000) -> dict[str, NDArray[Any]]:
    """Return the arrays of some lines, given in pieces of `size` bytes."""
    text = b"".join(json.dumps(value).encode() + b"\n" for value in values)

    def lines() -> Iterator[bytes]:
        for start in range(0, len(text), size):
            yield text[start : start + size]

    content = b"".join(result_archive(lines, len(values)))

    with np.load(io.BytesIO(content)) as found:
        return dict(found)


FAILED = json.loads(error_line("no"))


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_result_of_several_outputs_is_an_array_each(size: int) -> None:
    found = archived(
        [FAILED, {"y": [0.5, 1.0], "n/k": 1.0}, {"y": [2.0, 3.0], "n/k": 2.0}], size
    )

    assert list(found) == ["y", "n/k"]
    np.testing.assert_array_equal(found["y"], [[np.nan] * 2, [0.5, 1.0], [2.0, 3.0]])
    np.testing.assert_array_equal(found["n/k"], [np.nan, 1.0, 2.0])


def test_a_result_of_one_output_is_named_as_in_an_answer() -> None:
    found = archived([1, 2])

    assert {name: array.tolist() for name, array in found.items()} == {
        "predictions": [1, 2]
    }


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param([FAILED], "no row has an answer", id="all-failed"),
        pytest.param([{"y": "a"}], "no numbers", id="strings"),
        pytest.param([{"y": 1}, {"z": 1}], "row 2 has no output 'y'", id="names"),
        pytest.param([{"y": 1}, 1], "row 2 has no output 'y'", id="forms"),
    ],
)
def test_lines_that_make_no_arrays(values: list[Any], words: str) -> None:
    with pytest.raises(BadRows, match=words):
        archived(values)
