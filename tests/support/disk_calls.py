"""The calls by which Python code reaches a disk, by thread."""

from __future__ import annotations

import builtins
import functools
import io
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest

FUNCTIONS = (
    *("access", "link", "listdir", "lstat", "mkdir", "open", "readlink", "remove"),
    *("rename", "replace", "rmdir", "scandir", "stat", "statvfs", "symlink"),
    *("truncate", "unlink", "utime"),
)


class DiskCalls:
    """Records calls of this thread for paths under `folder`, and counts all others'."""

    def __init__(self, folder: Path) -> None:
        self.found: list[str] = []
        self.elsewhere = 0
        self._folder = os.fsencode(folder)
        self._thread = threading.get_ident()

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module, name in (
            *((builtins, "open"), (io, "open")),
            *((os, name) for name in FUNCTIONS),
        ):
            monkeypatch.setattr(module, name, self._recording(getattr(module, name)))

    @contextmanager
    def ignored(self) -> Iterator[None]:
        """Record nothing: for what the test itself does."""
        thread, self._thread = self._thread, 0

        try:
            yield
        finally:
            self._thread = thread

    def _recording(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            self._record(function.__name__, args[0] if args else None)

            return function(*args, **kwargs)

        return call

    def _record(self, name: str, target: Any) -> None:
        if not isinstance(target, str | bytes | os.PathLike):
            return

        path = os.fsencode(target)
        if not path.startswith(self._folder):
            return

        if threading.get_ident() != self._thread:
            self.elsewhere += 1
        else:
            self.found.append(f"{name} {os.fsdecode(path[len(self._folder) :])}")
