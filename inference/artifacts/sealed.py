"""Content of files in sealed memory: nobody can change it or cut it short.

A mapped file that is truncated kills the process that reads it (SIGBUS), and a bit that
flips on the disk is served. So content is copied into memory files once, sealed, and
checked there. They are named by their content: another load in this process, and other
processes of the machine, map the same memory.
"""

from __future__ import annotations

import fcntl
import os
import resource
import time
import weakref
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from inference.artifacts.mapping import map_descriptor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from inference.types import Array

    Check = Callable[[Array], bool]

_PREFIX = "tandem-"
_TARGET = f"/memfd:{_PREFIX}"
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_PROC = Path("/proc")
_PATIENCE_SECONDS = 10.0
"""The wait for a process that reads the same artifact; it may have been stopped."""


class WrongContent(Exception):
    """The file isn't what was written."""


class SealedMemory:
    """A sealed memory file of `nbytes`, open as `descriptor` while it is used.

    What is mapped stays so after `close`, but can't be found any more.
    """

    def __init__(self, descriptor: int, nbytes: int) -> None:
        self.nbytes = nbytes
        self.descriptor = descriptor
        self.close = weakref.finalize(self, os.close, descriptor)
        self.close.atexit = False

    def map(self) -> Array:
        """Map it, copy-on-write, until nothing refers to the array."""
        return map_descriptor(self.descriptor, self.nbytes, keep=self)


_known: weakref.WeakValueDictionary[str, SealedMemory] = weakref.WeakValueDictionary()
"""The mappings of this process, by name."""


def map_content(
    path: Path, nbytes: int, *, name: str, check: Check, elsewhere: Mapping[str, Path]
) -> Array:
    """Map the `nbytes` of `path`, or equal content in memory under the same `name`.

    `check` says whether content is right; `elsewhere` is what other processes have, as
    `found_elsewhere` returns it. Raises `WrongContent`, `OSError`.
    """
    known = _known.get(name)

    if known is not None:
        return known.map()

    found = _open(elsewhere[name], nbytes) if name in elsewhere else None
    # Another process wrote it, maybe from a damaged file, or to deceive this one.
    mapped = None if found is None else _checked(found, name, check)

    if mapped is None:
        mapped = _checked(_read(path, nbytes, name), name, check)

    if mapped is None:
        raise WrongContent(f"{path} isn't what was written")

    return mapped


def _checked(memory: SealedMemory, name: str, check: Check) -> Array | None:
    mapped = memory.map()

    if check(mapped):
        _remember(name, memory)
        return mapped

    memory.close()
    return None


def found_elsewhere() -> dict[str, Path]:
    """Find the memory of other processes that this one may open, by name."""
    own = str(os.getpid())
    return {
        target.removeprefix(_TARGET).split(" ")[0]: path
        for process in _PROC.glob("[0-9]*")
        if process.name != own
        for path, target in _descriptors(process)
        if target.startswith(_TARGET)
    }


def _descriptors(process: Path) -> Iterator[tuple[Path, str]]:
    """Yield the open files of a process, each with what it is."""
    # It may end meanwhile, or be another user's.
    with suppress(OSError), os.scandir(process / "fd") as entries:
        for entry in entries:
            with suppress(OSError):
                yield Path(entry.path), os.readlink(entry.path)


@contextmanager
def one_reader(folder: Path) -> Iterator[None]:
    """Let one process at a time read `folder`, so that others find what it has read."""
    descriptor = os.open(folder, os.O_RDONLY)

    try:
        _wait_for_lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _wait_for_lock(descriptor: int) -> None:
    """Take the lock, or go on without after a while: then memory isn't shared."""
    ends = time.monotonic() + _PATIENCE_SECONDS

    while time.monotonic() < ends:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(0.01)
        except OSError:
            # Some network mounts have no locks.
            return


def _open(path: Path, nbytes: int) -> SealedMemory | None:
    with suppress(OSError):
        memory = SealedMemory(os.open(path, os.O_RDONLY | os.O_CLOEXEC), nbytes)
        seals = fcntl.fcntl(memory.descriptor, fcntl.F_GET_SEALS)

        if seals & _SEALS == _SEALS and os.fstat(memory.descriptor).st_size == nbytes:
            return memory

    return None


def _read(path: Path, nbytes: int, name: str) -> SealedMemory:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    memory = SealedMemory(os.memfd_create(f"{_PREFIX}{name}", flags), nbytes)

    with path.open("rb") as file:
        copied = 0

        while copied < nbytes:
            size = os.sendfile(
                memory.descriptor, file.fileno(), copied, nbytes - copied
            )
            if not size:
                raise WrongContent(f"{path} isn't as long as it was")

            copied += size

    fcntl.fcntl(memory.descriptor, fcntl.F_ADD_SEALS, _SEALS)
    return memory


def _remember(name: str, memory: SealedMemory) -> None:
    """Keep the descriptor open for others, while half of all are left for clients."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)

    if len(_known) < most // 2:
        _known[name] = memory
    else:
        memory.close()
