"""What the compiler's process gives up before it reads a stranger's model.

To be done while there is one thread: the kernel confines threads, and those that they
start.
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
# Passing over the owners of files: root may serve what others own.
_CAP_DAC = 1 << 1 | 1 << 2


def confine(request: CompileRequest) -> tuple[str, ...]:
    """Confine this process for good; returns what the system refused to do for that.

    Afterwards it writes below the working directory and the artifact's folder only,
    has no network, and ends with the process that started it.
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
    """Bound memory, CPU time, files and core dumps.

    Memory is what is private and can be written (`RLIMIT_DATA`), not all addresses
    (`RLIMIT_AS`): a model of a kilobyte was compiled within 0.6 GB of data, and not
    within 2.3 GB of addresses, most of which were libraries and reserves.
    """
    if request.memory_bytes is not None:
        _limit(resource.RLIMIT_DATA, request.memory_bytes)
        _limit(resource.RLIMIT_FSIZE, request.memory_bytes)

    if request.cpu_seconds is not None:
        # At the first the process gets SIGXCPU, which ends it and tells why.
        _limit(resource.RLIMIT_CPU, request.cpu_seconds, _SECONDS_TO_END)

    _limit(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)
    _limit(resource.RLIMIT_CORE, 0)


def isolate_network() -> None:
    """Move to a network without any interface that works. Raises `OSError`."""
    from inference.compiler.sandbox.syscalls import unshare

    try:
        # Root keeps its own user: in another it may not read what others own.
        unshare(_CLONE_NEWNET)
    except PermissionError:
        unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def die_with_parent(parent: int | None) -> None:
    """Have the kernel kill this process when `parent`, its process, ends."""
    from inference.compiler.sandbox.syscalls import PR_SET_PDEATHSIG, prctl

    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    if parent is not None and os.getppid() != parent:
        os._exit(os.EX_TEMPFAIL)


def _restrict_process(request: CompileRequest, refused: list[str]) -> None:
    """The rest wants no privileges, so it comes when they are gone."""
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
