from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from service.decoding.shared_memory import KEPT_BYTES, Arena, aligned

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["memory", "file"])
def arena(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Arena]:
    if request.param == "file":
        monkeypatch.delattr(os, "memfd_create", raising=False)

    arena = Arena.create()
    yield arena
    arena.close()


@pytest.fixture
def other(arena: Arena) -> Iterator[Arena]:
    """The same memory, as the other process has it."""
    other = Arena(os.dup(arena.fd))
    yield other
    other.close()


@pytest.mark.parametrize("offset", [0, 64, 3 << 20])
def test_what_one_writes_the_other_reads(
    arena: Arena, other: Arena, offset: int
) -> None:
    arena.write(offset, b"one")
    assert other.read(offset, 3) == b"one"
    other.write(offset + 1, memoryview(b"xy"))
    assert arena.read(offset, 3) == b"oxy"


def test_either_side_makes_it_larger(arena: Arena, other: Arena) -> None:
    arena.write(0, b"small")
    assert other.read(0, 5) == b"small"
    other.write(5 << 20, b"far")
    assert arena.read(5 << 20, 3) == b"far"
    assert arena.read(0, 5) == b"small"


def test_nothing_is_read_of_nothing(arena: Arena) -> None:
    assert arena.read(0, 0) == b""
    arena.write(0, b"")


def test_bytes_are_copied(arena: Arena) -> None:
    target = np.zeros(4, np.uint8)
    arena.write(8, bytes([1, 2, 3, 4]))
    arena.copy_to(target, 8)
    arena.write(8, bytes(4))
    assert target.tolist() == [1, 2, 3, 4]


def test_what_is_usual_is_not_large(arena: Arena) -> None:
    assert not arena.is_large
    arena.write(0, b"usual")
    assert not arena.is_large


def test_what_was_large_is_given_back_and_can_be_used_again(
    arena: Arena, other: Arena
) -> None:
    """The other side's mapping then ends beyond the file."""
    far = KEPT_BYTES + (1 << 20)
    arena.write(far, b"large")
    assert other.read(far, 5) == b"large"

    assert arena.is_large
    arena.clear()
    assert not arena.is_large
    assert os.fstat(arena.fd).st_size == 0

    arena.write(0, b"small")
    assert other.read(0, 5) == b"small"
    other.write(far, b"again")
    assert arena.read(far, 5) == b"again"


def test_it_has_no_name(arena: Arena) -> None:
    assert os.fstat(arena.fd).st_nlink == 0
    assert not os.get_inheritable(arena.fd)


@pytest.mark.parametrize(("size", "rounded"), [(0, 0), (1, 64), (64, 64), (65, 128)])
def test_aligned(size: int, rounded: int) -> None:
    assert aligned(size) == rounded
