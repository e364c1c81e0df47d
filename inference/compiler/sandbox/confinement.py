"""Confinement of the compiler's process, before it reads an untrusted model.

It must happen while the process has one thread: the kernel confines the calling thread
and the threads that it starts later.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inference.artifacts.messages import CompileRequest

MAX_OPEN_FILES = 1024
_SECONDS_TO_END = 5
_NO_LIMIT_ABOVE = 2**62
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
# CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: root may serve files of other owners.
_CAP_DAC = 1 << 1 | 1 << 2


def confine(request: CompileRequest) -> tuple[str, ...]:
    """Confine this process for good; return what the system refused to restrict.

    Afterwards it writes only below the working directory and the artifact's folder, has
    no network, and ends with the process that started it.
    """
    refused: list[str] = []
    limit_resources(request)

    if sys.platform != "linux":
        return ("Everything but limits needs Linux",)

    with _collect_refusal(refused, "first to go when memory is short"):
        Path("/proc/self/oom_score_adj").write_text("1000")

    with _collect_refusal(refused, "a network of its own"):
        isolate_network()

    _restrict_process(request, refused)
    die_with_parent(request.parent)
    return tuple(refused)


def limit_resources(request: CompileRequest) -> None:
    """Limit memory, CPU time, file size, open files and core dumps."""
    if request.memory_bytes is not None:
        # RLIMIT_DATA counts private writable memory, RLIMIT_AS all addresses. A model
        # of a kilobyte compiled within 0.6 GB of data, and not within 2.3 GB of
        # addresses: most of those are libraries and reservations.
        _limit(resource.RLIMIT_DATA, request.memory_bytes)
        _limit(resource.RLIMIT_FSIZE, request.memory_bytes)

    if request.cpu_seconds is not None:
        # At the soft limit the process gets SIGXCPU, whose exit status names the cause.
        _limit(resource.RLIMIT_CPU, request.cpu_seconds, _SECONDS_TO_END)

    _limit(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)
    _limit(resource.RLIMIT_CORE, 0)


def isolate_network() -> None:
    """Move to a network namespace without a working interface. Raise `OSError`."""
    from inference.compiler.sandbox.syscalls import unshare

    try:
        # Root keeps its own user: in another it may not read what others own.
        unshare(_CLONE_NEWNET)
    except PermissionError:
        unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def die_with_parent(parent: int | None) -> None:
    """Have the kernel kill this process when `parent`, its process id, ends."""
    from inference.compiler.sandbox.syscalls import PR_SET_PDEATHSIG, prctl

    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    # The parent may have ended before prctl took effect.
    if parent is not None and os.getppid() != parent:
        os._exit(os.EX_TEMPFAIL)


def _restrict_process(request: CompileRequest, refused: list[str]) -> None:
    """Apply the restrictions that need no privileges, after dropping those."""
    # Imported late: only Linux has these calls.
    from inference.compiler.sandbox.landlock import restrict
    from inference.compiler.sandbox.seccomp import refuse_calls
    from inference.compiler.sandbox.syscalls import (
        PR_SET_NO_NEW_PRIVS,
        keep_capabilities,
        prctl,
    )

    with _collect_refusal(refused, "no capabilities"):
        keep_capabilities(_CAP_DAC)

    with _collect_refusal(refused, "no new privileges"):
        prctl(PR_SET_NO_NEW_PRIVS, 1)

    with _collect_refusal(refused, "files for reading only (Landlock)"):
        restrict([Path.cwd(), Path(request.folder)])

    with _collect_refusal(refused, "no sockets (seccomp)"):
        refuse_calls()


@contextmanager
def _collect_refusal(refused: list[str], what: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        refused.append(f"{what}: {errno.errorcode.get(exc.errno or 0, exc)}")


def _limit(kind: int, value: int, spare: int = 0) -> None:
    _, hard = resource.getrlimit(kind)
    most = _NO_LIMIT_ABOVE if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(kind, (min(value, most), min(value + spare, most)))
