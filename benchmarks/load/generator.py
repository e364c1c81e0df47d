"""Processes that send streams of requests, each on a CPU of its own."""

from __future__ import annotations

import asyncio
import gc
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

import uvloop

from benchmarks.children import child
from benchmarks.load.recording import joined
from benchmarks.load.senders import ClosedSender, OpenSender
from benchmarks.load.streams import Closed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.children import Child
    from benchmarks.load.recording import Recording
    from benchmarks.load.streams import Span, Stream

_HEAD_START = 0.02
"""Seconds between a plan's arrival and its first request."""


def generate(streams: Sequence[Stream | None], span: Span) -> list[Recording | None]:
    """Send all streams at once from this process; a `None` is left out."""
    gc.collect()
    gc.freeze()
    gc.disable()

    try:
        return uvloop.run(_send(streams, span))
    finally:
        gc.enable()
        gc.unfreeze()


class Generator:
    """A process per CPU in `cpus`, which share every stream between them."""

    def __init__(self, children: Sequence[Child]) -> None:
        self._children = children

    def run(self, streams: Sequence[Stream], span: Span) -> list[Recording]:
        """What came of each stream. Blocks until all are answered or given up."""
        shares = [stream.shares(len(self._children)) for stream in streams]
        plans = [
            [share[part] if part < len(share) else None for share in shares]
            for part in range(len(self._children))
        ]

        with ThreadPoolExecutor(len(plans)) as threads:
            parts = list(
                threads.map(
                    lambda one, plan: one.call(generate, plan, span),
                    self._children,
                    plans,
                )
            )

        return [
            joined([part for part in found if part is not None])
            for found in zip(*parts, strict=True)
        ]


@contextmanager
def generating(cpus: Sequence[int]) -> Iterator[Generator]:
    """A generator pinned to `cpus`, until the block ends."""
    with ExitStack() as stack:
        children = [stack.enter_context(child()) for _ in cpus]

        for one, cpu in zip(children, cpus, strict=True):
            one.call(pin, [cpu])

        yield Generator(children)


def pin(cpus: Sequence[int]) -> None:
    """Keep this process on `cpus`, and all that it starts."""
    os.sched_setaffinity(0, cpus)


async def _send(streams: Sequence[Stream | None], span: Span) -> list[Recording | None]:
    senders = [
        None
        if stream is None
        else ClosedSender(stream, span)
        if isinstance(stream, Closed)
        else OpenSender(stream, span)
        for stream in streams
    ]
    origin = perf_counter() + _HEAD_START

    async with asyncio.TaskGroup() as tasks:
        for sender in filter(None, senders):
            tasks.create_task(sender.run(origin))

    for sender in filter(None, senders):
        sender.check()

    return [None if sender is None else sender.recording for sender in senders]
