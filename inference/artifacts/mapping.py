"""Files mapped into memory, copy-on-write: read through the page cache, never written.

Python's `mmap`, and so NumPy's `memmap`, keeps each mapped file open: a model of a
thousand weights would use up a process' descriptors.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from inference.types import Array

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
)
_LIBC.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_FAILED = ctypes.c_void_p(-1).value
_PROTECTION = mmap.PROT_READ | mmap.PROT_WRITE


def map_file(path: Path) -> Array:
    """Map the bytes of `path`, which isn't empty, until nothing refers to them.

    Writes to the array stay in this process. Raises `OSError`.
    """
    with path.open("rb") as file:
        nbytes = os.fstat(file.fileno()).st_size
        place = _LIBC.mmap(
            None, nbytes, _PROTECTION, mmap.MAP_PRIVATE, file.fileno(), 0
        )

    if place == _FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))

    mapped: Any = (ctypes.c_uint8 * nbytes).from_address(place)
    # Not at the interpreter's exit: threads of TensorFlow may still read it.
    weakref.finalize(mapped, _LIBC.munmap, place, nbytes).atexit = False
    return np.frombuffer(mapped, np.uint8)
