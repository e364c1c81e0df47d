"""What is said when the compiler's child ends at one of its limits, or is killed."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from inference.system.memory import show_bytes

if TYPE_CHECKING:
    from inference.artifacts.messages import CompileRequest

ELSEWHERE = "or compile it ahead of time with tandem compile on a machine that has more"
# TensorFlow gives up at once where a thread has no memory for its stack.
# Nor has a library, unless it lies where nothing may be run.
_NO_MEMORY = re.compile(
    r"bad_alloc|annot allocate|MemoryError|out of memory|pthread_create\(\) failed|"
    r"failed to map segment from shared object(?!: Operation not permitted)",
    re.IGNORECASE,
)
_STACK = "    @ "


def memory_limit_text(request: CompileRequest) -> str:
    """That the limit on memory was reached."""
    if request.memory_bytes is None:
        return f"Compiling {_name(request)} needs more memory than there is."

    return (
        f"Compiling {_name(request)} needs more than the "
        f"{show_bytes(request.memory_bytes)} of memory that the compiler may take. "
        f"Allow it more with --compile-memory, {ELSEWHERE}."
    )


def file_limit_text(request: CompileRequest) -> str:
    """That the limit on the size of a file was reached."""
    return (
        f"Compiling {_name(request)} writes a file larger than the "
        f"{show_bytes(request.memory_bytes or 0)} that the compiler may take. "
        f"Allow it more with --compile-memory, {ELSEWHERE}."
    )


def timeout_text(request: CompileRequest, seconds: float) -> str:
    """That it took too long."""
    return (
        f"Compiling {_name(request)} took longer than {seconds:g} s. Give it more time "
        "with --compile-timeout, or compile it ahead of time with tandem compile."
    )


def ending_text(
    request: CompileRequest, code: int | None, words: str, stage: str
) -> str:
    """Say how a child ended without a last event.

    That is its exit `code`, the `stage` that it had begun, and what it wrote last.
    """
    lines = [line for line in words.splitlines() if _is_telling(line)]
    said = f" Its last words: {lines[-1].strip()}" if lines else ""

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
            f"the compiler less with --compile-memory, {ELSEWHERE}.{said}"
        )

    if _NO_MEMORY.search(words):
        return memory_limit_text(request) + said

    how = f"was killed by signal {-code}" if code and code < 0 else f"ended with {code}"
    during = f" (stage: {stage})" if stage else ""
    return f"The compiler {how} while reading {_name(request)}{during}.{said}"


def _is_telling(line: str) -> bool:
    return bool(line.strip()) and not line.startswith(_STACK)


def _name(request: CompileRequest) -> str:
    return Path(request.path).name
