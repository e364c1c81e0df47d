"""Which of the compiler's limits an error comes from."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING

from inference.artifacts.failures import file_limit_text, memory_limit_text
from inference.compiler.sandbox.confinement import MAX_OPEN_FILES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inference.artifacts.messages import CompileRequest

# HDF5 and TensorFlow have no class of their own for it in all places.
_NO_MEMORY = re.compile(r"bad_alloc|annot allocate|allocation failed|OOM when")


def limit_message(exc: BaseException, request: CompileRequest) -> str | None:
    """What to say if `exc`, or what led to it, is for want of what was limited."""
    chain = list(_chain(exc))
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
    """Whether the system had a part in it, so that it may not happen again.

    HDF5's errors about a file's content are `OSError` too, but have no number.
    """
    return any(isinstance(each, OSError) and each.errno for each in _chain(exc))


def _is_memory(exc: BaseException) -> bool:
    return (
        isinstance(exc, MemoryError)
        or type(exc).__name__ == "ResourceExhaustedError"
        or (isinstance(exc, OSError) and exc.errno == errno.ENOMEM)
        or bool(_NO_MEMORY.search(str(exc)))
    )


def _chain(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__
