"""Fresh processes that run one function at a time."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")


class Child:
    """A process with nothing imported but this package, alive until its block ends."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a module's function there; blocks. Raises what it raises."""
        return self._pool.submit(function, *args, **kwargs).result()


@contextmanager
def child(cpus: Sequence[int] = ()) -> Iterator[Child]:
    """Start a process, pinned to `cpus` if there are any; end it with the block."""
    context = multiprocessing.get_context("spawn")

    with ProcessPoolExecutor(
        max_workers=1, mp_context=context, initializer=_start, initargs=(tuple(cpus),)
    ) as pool:
        yield Child(pool)


def _start(cpus: Sequence[int]) -> None:
    # TensorFlow's libraries write there whatever the log level says; what fails here
    # is raised in the parent.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

    if cpus:
        os.sched_setaffinity(0, cpus)
