"""Troubles of the machine: full disks, limits, permissions, a lack of memory.

They pass, or an operator ends them: no model is to blame for one, and what failed is
tried again.
"""

from __future__ import annotations

import errno
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from inference.errors import InferenceError, LoadFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SPACE = "Free space there, or name another folder with --cache-dir."
_DISK = "Check the disk, or the mount."
_ACCESS = (
    "Let the user that runs the server (uid {uid}) use it. Another folder of compiled "
    "models is named with --cache-dir; tandem compile fills one ahead of time."
)
_FILES = "Raise the limit of the server: ulimit -n, or LimitNOFILE of systemd."
_MEMORY = (
    "Give the machine or container more memory, or unload models with --memory-budget."
)
_PROCESSES = "Raise the limit of processes: ulimit -u, or pids of the container."
_ADVICE = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: "Raise the limit on the size of files, ulimit -f.",
    **dict.fromkeys((errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE), _DISK),
    **dict.fromkeys((errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN), _DISK),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _ACCESS),
    errno.EMFILE: _FILES,
    errno.ENFILE: "Raise the machine's limit of open files, fs.file-max.",
    errno.ENOMEM: _MEMORY,
    errno.EAGAIN: _PROCESSES,
}
# Libraries put the system's error into a text of their own.
_NUMBERS = {os.strerror(number): number for number in _ADVICE}
_WORDS = re.compile("|".join(map(re.escape, _NUMBERS)))


def trouble_of(error: BaseException, place: Path | str) -> str | None:
    """Return the trouble that caused `error`, directly or not, and what helps.

    `place` is where it happened, unless the error names a file. `None` if the machine
    isn't the cause.
    """
    for each in causes(error):
        number = _number(each)

        if number is not None:
            where = (isinstance(each, OSError) and each.filename) or place
            return describe(number, where)

    return None


def trouble_in(text: str, place: Path | str) -> str | None:
    """Return the trouble that a library's `text` tells of, and what helps."""
    found = _WORDS.search(text)
    return None if found is None else describe(_NUMBERS[found[0]], place)


def describe(number: int, place: Path | str) -> str:
    """Describe the trouble of an error number, and what helps."""
    advice = _ADVICE[number].format(uid=os.geteuid())
    # Memory and processes lack nowhere in particular.
    where = "" if number in (errno.ENOMEM, errno.EAGAIN) else f": {os.fsdecode(place)}"
    return f"{os.strerror(number)}{where}. {advice}"


@contextmanager
def troubles_told(place: Path | str) -> Iterator[None]:
    """Raise `LoadFailed` for an error that the machine has caused.

    Other errors pass.
    """
    try:
        yield
    except (InferenceError, OSError, MemoryError) as exc:
        trouble = trouble_of(exc, place)

        if trouble is None:
            raise

        raise LoadFailed(trouble) from exc


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, its cause, the cause of that, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _number(error: BaseException) -> int | None:
    if isinstance(error, MemoryError):
        return errno.ENOMEM

    if isinstance(error, OSError) and error.errno in _ADVICE:
        return error.errno

    # Our own texts quote names of files and layers, which may be any.
    if isinstance(error, InferenceError):
        return None

    found = _WORDS.search(str(error))
    return None if found is None else _NUMBERS[found[0]]
