"""Memory files mapped copy-on-write: shared as long as nobody writes.

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


def map_descriptor(descriptor: int, nbytes: int, *, keep: object) -> Array:
    """Map `nbytes`, more than 0, of an open file until nothing refers to them.

    `keep` is kept as long. Writes to the array stay in this process. Raises `OSError`.
    """
    place = _LIBC.mmap(None, nbytes, _PROTECTION, mmap.MAP_PRIVATE, descriptor, 0)

    if place == _FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

    mapped: Any = (ctypes.c_uint8 * nbytes).from_address(place)
    # Not at the interpreter's exit: threads of TensorFlow may still read it.
    weakref.finalize(mapped, _unmap, place, nbytes, keep).atexit = False
    return np.frombuffer(mapped, np.uint8)


def _unmap(place: int, nbytes: int, _keep: object) -> None:
    _LIBC.munmap(place, nbytes)
