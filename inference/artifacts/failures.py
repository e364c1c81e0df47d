"""Error texts for a compiler's child that hits one of its limits, or is killed."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from inference.system.memory import show_bytes
from inference.system.troubles import trouble_in

if TYPE_CHECKING:
    from inference.artifacts.messages import CompileRequest

_OTHER_MACHINE = (
    "or compile it ahead of time with tandem compile on a machine that has more"
)
# TensorFlow aborts if a thread has no memory for its stack. A library can't be mapped
# for lack of memory too, unless it lies where execution isn't permitted.
_NO_MEMORY = re.compile(
    r"bad_alloc|annot allocate|MemoryError|out of memory|pthread_create\(\) failed|"
    r"failed to map segment from shared object(?!: Operation not permitted)",
    re.IGNORECASE,
)
_STACK = "    @ "

STARTING = "starting TensorFlow"
"""The stage before any of the model is read."""


def memory_limit_text(request: CompileRequest) -> str:
    """Describe that the memory limit was reached."""
    if request.memory_bytes is None:
        return f"Compiling {_name(request)} needs more memory than there is."

    return (
        f"Compiling {_name(request)} needs more than the "
        f"{show_bytes(request.memory_bytes)} of memory that the compiler may take. "
        f"Allow it more with --compile-memory, {_OTHER_MACHINE}."
    )


def file_limit_text(request: CompileRequest) -> str:
    """Describe that the limit on the size of a file was reached."""
    return (
        f"Compiling {_name(request)} writes a file larger than the "
        f"{show_bytes(request.memory_bytes or 0)} that the compiler may take. "
        f"Allow it more with --compile-memory, {_OTHER_MACHINE}."
    )


def timeout_text(request: CompileRequest, seconds: float) -> str:
    """Describe that the compiler took too long."""
    return (
        f"Compiling {_name(request)} took longer than {seconds:g} s. Give it more time "
        "with --compile-timeout, or compile it ahead of time with tandem compile."
    )


def cache_of(request: CompileRequest) -> Path:
    """Return the folder of artifacts that the compiler writes into."""
    # The artifact is made two folders below it.
    return Path(request.folder).parents[1]


def is_machines_fault(code: int | None, stderr: str, stage: str) -> bool:
    """Return whether a child that ended so may not be the model's doing."""
    # SIGBUS: a file that it had mapped was cut short, or its disk is full.
    limits = (-signal.SIGXCPU, -signal.SIGXFSZ)
    by_system = code in (*limits, -signal.SIGKILL, -signal.SIGBUS)
    unread = stage in ("", STARTING)
    return (
        by_system
        or unread
        or bool(_NO_MEMORY.search(stderr))
        or trouble_in(stderr, "") is not None
    )


def ending_text(
    request: CompileRequest, code: int | None, stderr: str, stage: str
) -> str:
    """Describe how a child ended without a last event.

    `code` is its exit code, `stage` the last that it began.
    """
    lines = [line for line in stderr.splitlines() if _is_message(line)]
    output = f" Its last output: {lines[-1].strip()}" if lines else ""

    if code == -signal.SIGXCPU:
        return (
            f"Compiling {_name(request)} took more than {request.cpu_seconds} s of CPU "
            "time. Give it more time with --compile-timeout, or compile it ahead of "
            "time with tandem compile."
        )

    if code == -signal.SIGXFSZ:
        return file_limit_text(request)

    if code == -signal.SIGKILL:
        return (
            f"The compiler was killed while reading {_name(request)}, as the system "
            "does when memory is short. Give the machine or container more memory, or "
            f"the compiler less with --compile-memory, {_OTHER_MACHINE}.{output}"
        )

    if _NO_MEMORY.search(stderr):
        return memory_limit_text(request) + output

    trouble = trouble_in(stderr, cache_of(request))

    if trouble is not None:
        return f"The compiler stopped while reading {_name(request)}. {trouble}"

    how = f"was killed by signal {-code}" if code and code < 0 else f"ended with {code}"
    during = f" (stage: {stage})" if stage else ""
    return f"The compiler {how} while reading {_name(request)}{during}.{output}"


def _is_message(line: str) -> bool:
    return bool(line.strip()) and not line.startswith(_STACK)


def _name(request: CompileRequest) -> str:
    return Path(request.path).name
