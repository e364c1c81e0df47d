from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from service.decoding.shared_memory import KEPT_BYTES, SharedBuffer, aligned

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["memory", "file"])
def buffer(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SharedBuffer]:
    if request.param == "file":
        monkeypatch.delattr(os, "memfd_create", raising=False)

    buffer = SharedBuffer.create()
    yield buffer
    buffer.close()


@pytest.fixture
def other(buffer: SharedBuffer) -> Iterator[SharedBuffer]:
    """Return the same memory as the other process maps it."""
    other = SharedBuffer(os.dup(buffer.fd))
    yield other
    other.close()


@pytest.mark.parametrize("offset", [0, 64, 3 << 20])
def test_either_side_reads_the_others_bytes(
    buffer: SharedBuffer, other: SharedBuffer, offset: int
) -> None:
    buffer.write(offset, b"one")
    assert other.read(offset, 3) == b"one"
    other.write(offset + 1, memoryview(b"xy"))
    assert buffer.read(offset, 3) == b"oxy"


def test_either_side_makes_it_larger(buffer: SharedBuffer, other: SharedBuffer) -> None:
    buffer.write(0, b"small")
    assert other.read(0, 5) == b"small"
    other.write(5 << 20, b"far")
    assert buffer.read(5 << 20, 3) == b"far"
    assert buffer.read(0, 5) == b"small"


def test_zero_bytes(buffer: SharedBuffer) -> None:
    assert buffer.read(0, 0) == b""
    buffer.write(0, b"")


def test_bytes_are_copied(buffer: SharedBuffer) -> None:
    target = np.zeros(4, np.uint8)
    buffer.write(8, bytes([1, 2, 3, 4]))
    buffer.copy_to(target, 8)
    buffer.write(8, bytes(4))
    assert target.tolist() == [1, 2, 3, 4]


def test_usual_sizes_are_not_large(buffer: SharedBuffer) -> None:
    assert not buffer.is_large
    buffer.write(0, b"usual")
    assert not buffer.is_large


def test_a_cleared_buffer_is_usable_again(
    buffer: SharedBuffer, other: SharedBuffer
) -> None:
    """The other side's map then extends beyond the file."""
    far = KEPT_BYTES + (1 << 20)
    buffer.write(far, b"large")
    assert other.read(far, 5) == b"large"

    assert buffer.is_large
    buffer.clear()
    assert not buffer.is_large
    assert os.fstat(buffer.fd).st_size == 0

    buffer.write(0, b"small")
    assert other.read(0, 5) == b"small"
    other.write(far, b"again")
    assert buffer.read(far, 5) == b"again"


def test_it_has_no_name(buffer: SharedBuffer) -> None:
    assert os.fstat(buffer.fd).st_nlink == 0
    assert not os.get_inheritable(buffer.fd)


@pytest.mark.parametrize(("size", "rounded"), [(0, 0), (1, 64), (64, 64), (65, 128)])
def test_aligned(size: int, rounded: int) -> None:
    assert aligned(size) == rounded
