"""Linux system calls that Python doesn't wrap. All raise `OSError`."""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)

PR_SET_PDEATHSIG = 1
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38


def prctl(option: int, value: int, pointer: object = None) -> None:
    """Set `option` of this process, and of the processes that it starts."""
    _check_result(_libc.prctl(option, ctypes.c_ulong(value), pointer, 0, 0))


def unshare(flags: int) -> None:
    """Leave the namespaces in `flags` for new ones; only before there are threads."""
    _check_result(_libc.unshare(flags))


def syscall(number: int, *arguments: object) -> int:
    """Make a system call that the C library may have no function for."""
    return _check_result(_libc.syscall(ctypes.c_long(number), *arguments))


def keep_capabilities(mask: int) -> None:
    """Drop all of root's capabilities except those in `mask`, which may be absent."""
    # _LINUX_CAPABILITY_VERSION_3, for this process.
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    _check_result(_libc.capget(header, data))
    kept = data[1] & mask
    _check_result(_libc.capset(header, (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)))


def _check_result(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

    return result
