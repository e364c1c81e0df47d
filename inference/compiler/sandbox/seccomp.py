"""A seccomp filter: no sockets, no other programs, no other processes' memory.

It works where namespaces can't be created, as in most containers.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from dataclasses import dataclass

from inference.compiler.sandbox.syscalls import PR_SET_SECCOMP, prctl

_MODE_FILTER = 2
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4
# On x86-64 the x32 ABI gives the same calls second numbers from here on.
_SECOND_NUMBERS = 0x40000000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Architecture:
    audit: int
    refused: tuple[int, ...]


# socket, ptrace, execve, execveat, process_vm_readv, process_vm_writev, io_uring_setup
_ARCHITECTURES = {
    "x86_64": _Architecture(
        audit=0xC000003E, refused=(41, 101, 59, 322, 310, 311, 425)
    ),
    "aarch64": _Architecture(
        audit=0xC00000B7, refused=(198, 117, 221, 281, 270, 271, 425)
    ),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def refuse_calls() -> None:
    """Make these system calls fail with `EPERM` in this thread and those it starts.

    Requires `PR_SET_NO_NEW_PRIVS`. Raise `OSError` if there is no filter for this
    machine.
    """
    architecture = _ARCHITECTURES.get(platform.machine())

    if architecture is None:
        raise OSError(errno.ENOSYS, f"no filter for {platform.machine()}")

    code = _bpf_program(architecture)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(length=len(code) // 8, filter=ctypes.addressof(buffer))
    prctl(PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program))


def _bpf_program(architecture: _Architecture) -> bytes:
    """Return classic BPF code: operation, jump if true, jump if false, operand."""
    refused = architecture.refused
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, architecture.audit),
        # Another architecture numbers its calls differently.
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, len(refused) + 1, 0, _SECOND_NUMBERS),
    ]
    lines += [
        (_EQUAL, len(refused) - index, 0, number)
        for index, number in enumerate(refused)
    ]
    lines += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ERRNO | errno.EPERM)]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)
