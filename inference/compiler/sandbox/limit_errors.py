"""Errors caused by the compiler's resource limits."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING

from inference.artifacts.failures import file_limit_text, memory_limit_text
from inference.compiler.sandbox.confinement import MAX_OPEN_FILES
from inference.system.troubles import causes

if TYPE_CHECKING:
    from inference.artifacts.messages import CompileRequest

# HDF5 and TensorFlow don't always raise a class of its own for it.
_NO_MEMORY = re.compile(r"bad_alloc|annot allocate|allocation failed|OOM when")


def limit_message(exc: BaseException, request: CompileRequest) -> str | None:
    """Return the message for the limit that caused `exc`, directly or as a cause.

    `None` if it wasn't one of the limits.
    """
    chain = list(causes(exc))
    numbers = {each.errno for each in chain if isinstance(each, OSError)}

    if any(map(_is_memory, chain)):
        return memory_limit_text(request)

    if errno.EFBIG in numbers:
        return file_limit_text(request)

    if errno.EMFILE in numbers:
        return (
            f"Compiling the model needs more than {MAX_OPEN_FILES} open files at a "
            "time, which is more than any model is allowed."
        )

    return None


def is_system_error(exc: BaseException) -> bool:
    """Return whether a system error is involved, so that a retry may succeed."""
    # HDF5's errors about a file's content are `OSError` too, without an errno.
    return any(isinstance(each, OSError) and each.errno for each in causes(exc))


def _is_memory(exc: BaseException) -> bool:
    return (
        isinstance(exc, MemoryError)
        or type(exc).__name__ == "ResourceExhaustedError"
        or (isinstance(exc, OSError) and exc.errno == errno.ENOMEM)
        or bool(_NO_MEMORY.search(str(exc)))
    )
