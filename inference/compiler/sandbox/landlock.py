"""Filesystem writes restricted with Landlock."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

from inference.compiler.sandbox.syscalls import syscall

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# The numbers are the same on all architectures.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_PATH_BENEATH = 1

_EXECUTE = 1 << 0
_WRITE_FILE = 1 << 1
# Creating and removing files, folders, links, devices, pipes and sockets.
_CHANGE_FOLDER = sum(1 << bit for bit in range(4, 13))
# Rights added later, each with the first ABI version that has it.
_LATER = ((2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
_TRUNCATE = 1 << 14
_BIND_AND_CONNECT_TCP = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("files", ctypes.c_uint64),
        ("net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    # The kernel declares its struct as packed.
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def restrict(writable: Sequence[Path]) -> None:
    """Let this thread, and those it starts, write below `writable` and nowhere else.

    It can't start other programs either and, with a recent kernel, opens no TCP
    connections and signals only itself. Reading isn't restricted. Requires
    `PR_SET_NO_NEW_PRIVS`. Raise `OSError` if the kernel has no Landlock.
    """
    version = syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)
    changing = _WRITE_FILE | _CHANGE_FOLDER
    changing |= sum(right for first, right in _LATER if version >= first)
    ruleset = _Ruleset(
        files=changing | _EXECUTE,
        net=_BIND_AND_CONNECT_TCP if version >= 4 else 0,
        scoped=_ABSTRACT_SOCKETS_AND_SIGNALS if version >= 6 else 0,
    )
    size = ctypes.c_size_t(ctypes.sizeof(ruleset))
    rules = syscall(_CREATE_RULESET, ctypes.byref(ruleset), size, 0)

    try:
        # Libraries open /dev/null for writing.
        _allow(rules, os.devnull, changing & (_WRITE_FILE | _TRUNCATE))

        for folder in writable:
            _allow(rules, folder, changing)

        syscall(_RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


def _allow(rules: int, path: Path | str, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)

    try:
        rule = _PathBeneath(allowed=rights, folder=place)
        syscall(_ADD_RULE, rules, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(place)
