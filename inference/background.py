"""Calls that may wait, as those of jobs: marked by the context that they run in."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

background = ContextVar("background", default=False)
"""Whether calls that are made in this context are marked."""


@contextmanager
def background_calls() -> Iterator[None]:
    """Mark calls that are made in this block, and in tasks begun in it."""
    token = background.set(True)

    try:
        yield
    finally:
        background.reset(token)


def in_background() -> bool:
    """Return whether calls that are made here are marked."""
    return background.get()
