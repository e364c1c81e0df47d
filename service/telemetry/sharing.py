"""Figures of the processes of one server, in a folder that all of them share."""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, TYPE_CHECKING, Self

from service.telemetry.figures import dump, merge, parse, remains

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from service.telemetry.figures import Figures

PUBLISH_SECONDS = 1.0
"""The time after which the others know what a process has counted."""

PUBLISH_SHARE = 0.02
"""The most of the time that publishing takes; then it is less often."""

LOCK_SECONDS = 2.0
RETRY_SECONDS = 0.01

LIFE, FIGURES, ENDED = ".alive", ".figures", "ended.figures"


class FiguresUnreadable(Exception):
    """The folder can't be used; the text says why, and what to do."""


class FigureFolder:
    """A folder with a file of figures for each process, and one for those that ended.

    As a context manager it holds the process' place. Whoever reads publishes its own
    figures first, so no total is ever less than one that was read before. For one
    thread at a time.
    """

    # A process holds the lock of a file of its own for as long as it lives, however it
    # ends. The lock of the folder orders readers, and those that come and go.

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._id = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        with self._errors():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked():
                life = self._exits.enter_context(self._path(LIFE).open("w"))
                fcntl.flock(life, fcntl.LOCK_EX)

        return self

    def __exit__(self, *exc_info: object) -> None:
        self._exits.close()

    def publish(self, own: Figures) -> None:
        """Let the others know this process' figures. Raise `FiguresUnreadable`."""
        with self._errors():
            _replace(self._path(FIGURES), own)

    def total(self, own: Figures) -> Figures:
        """Return the figures of all processes. Raise `FiguresUnreadable`."""
        with self._errors(), self._locked():
            _replace(self._path(FIGURES), own)
            self._bury()
            return _merged(sorted(self._folder.glob(f"*{FIGURES}")))

    def _bury(self) -> None:
        """Add up what is left of processes that have ended."""
        for life in self._folder.glob(f"*{LIFE}"):
            if _is_held(life):
                continue

            file, ended = life.with_suffix(FIGURES), self._folder / ENDED
            if file.exists():
                both = [each for each in (ended, file) if each.exists()]
                _replace(ended, remains(_merged(both)))
                file.unlink()

            life.unlink()

    def _path(self, suffix: str) -> Path:
        return self._folder / f"{self._id}{suffix}"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._folder / "folder").open("w") as file:
            _lock(file)
            yield

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise FiguresUnreadable(
                f"The metrics' folder {self._folder} can't be used: "
                f"{exc.strerror or exc}. Name another one with --metrics-dir."
            ) from exc


def _is_held(life: Path) -> bool:
    with life.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True

    return False


def _lock(file: IO[str]) -> None:
    """Take a lock that others hold for milliseconds. Raise `TimeoutError`."""
    end = time.monotonic() + LOCK_SECONDS

    while True:
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return

        if time.monotonic() > end:
            raise TimeoutError("a process that is stopped holds it")

        time.sleep(RETRY_SECONDS)


def _merged(files: Iterable[Path]) -> Figures:
    return merge(parse(each.read_bytes()) for each in files)


def _replace(path: Path, figures: Figures) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(dump(figures))
    new.replace(path)
