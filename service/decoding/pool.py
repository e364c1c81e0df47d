"""A pool of processes that decode bodies, so that the event loop isn't held."""

from __future__ import annotations

import math
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, TypeVar, cast

import anyio
import structlog

import inference
from inference import InferenceError, Unavailable, available_cpus
from service.decoding.messages import Task
from service.decoding.process import COMMAND, DecoderProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from inference import Signature
    from service.decoding.messages import DecodedCall

C = TypeVar("C", bound="DecodedCall")

TIMEOUT_SECONDS = 120.0
SINGLE_MODEL_SECONDS = 1.0
LOST = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)
"""Errors of a pipe whose process has ended."""

log = structlog.get_logger("tandem.decoders")


@dataclass(slots=True, kw_only=True, eq=False)
class _Job:
    """A body to decode; `done` is set once there is a `call` or an `error`."""

    pieces: Sequence[bytes]
    task: Task
    done: anyio.Event = field(default_factory=anyio.Event)
    call: DecodedCall | None = None
    error: Exception | None = None

    def result(self) -> DecodedCall:
        if self.call is not None:
            return self.call

        raise self.error or Unavailable("the server is stopping")


class TrafficMonitor:
    """Tells whether all recent requests were for a single model.

    `clock` returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._latest = ""
        self._changed = -math.inf

    def record(self, model: str) -> None:
        """Record the arrival of a request for `model`."""
        # Most requests are for the same model as the last: no need for the clock.
        if model != self._latest:
            self._latest = model
            self._changed = self._clock()

    def single_model(self) -> bool:
        """Return whether all requests of the last second were for one model."""
        return self._clock() - self._changed > SINGLE_MODEL_SECONDS


class DecoderPool:
    """Up to `count` processes, each started when first needed and replaced when lost.

    An async context manager that kills them on exit, for one event loop. Each process
    decodes one body at a time; others wait in order of arrival. `traffic` tells whether
    decoding on the loop would delay other models' requests; `loop_lock` is held while
    the loop decodes a long body.
    """

    def __init__(
        self, count: int | None = None, *, command: Sequence[str] = COMMAND
    ) -> None:
        self._count = count or min(2, available_cpus())
        self._command = command
        self.traffic = TrafficMonitor()
        self.loop_lock = anyio.Lock()
        self._exits = AsyncExitStack()
        self._jobs: MemoryObjectSendStream[_Job]

    async def __aenter__(self) -> Self:
        self._jobs, jobs = anyio.create_memory_object_stream[_Job]()
        tasks = await self._exits.enter_async_context(anyio.create_task_group())
        self._exits.callback(tasks.cancel_scope.cancel)
        self._exits.callback(self._jobs.close)
        with jobs:
            for _ in range(self._count):
                tasks.start_soon(self._serve, jobs.clone())

        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._exits.__aexit__(kind, error, traceback)

    async def decode(
        self,
        pieces: Sequence[bytes],
        signatures: Mapping[str, Signature],
        default_signature: str | None,
        decode: Callable[[bytes], C],
    ) -> C:
        """Decode a body and bind it to its signature: arrays by input name.

        `inputs` is empty if the body asks for none of `signatures`. `decode` is called
        in the process. Raise what it and `bind` raise, and `Unavailable` if the
        process was lost. When the caller is cancelled, its body is still decoded, then
        dropped.
        """
        task = Task(decode=decode, signatures=signatures, default=default_signature)
        job = _Job(pieces=pieces, task=task)
        await self._jobs.send(job)
        await job.done.wait()
        return cast("C", job.result())

    async def _serve(self, jobs: MemoryObjectReceiveStream[_Job]) -> None:
        process = DecoderProcess(self._command)
        try:
            with jobs:
                async for job in jobs:
                    await self._answer(process, job)
                    await process.trim()
        finally:
            await process.close()

    async def _answer(self, process: DecoderProcess, job: _Job) -> None:
        try:
            with anyio.fail_after(TIMEOUT_SECONDS):
                await self._converse_again(process, job)
        except Exception as exc:
            how = await process.end() or f"{type(exc).__name__}: {exc}"
            log.error("decoder lost", reason=how)
            job.error = Unavailable(
                f"the process decoding this body was lost ({how}): send the request"
                " again, or with fewer rows"
            )
        finally:
            job.done.set()

    async def _converse_again(self, process: DecoderProcess, job: _Job) -> None:
        """Decode a body, in a new process if the old one turns out to be lost."""
        used = process.running
        try:
            await self._converse(process, job)
        except LOST:
            # One that had just started was lost to this very body.
            if not used:
                raise

            log.warning("decoder lost; trying another", reason=await process.end())
            await self._converse(process, job)

    async def _converse(self, process: DecoderProcess, job: _Job) -> None:
        answer = await process.ask(job.pieces, job.task)
        inputs = await process.arrays(answer)
        if answer.error is not None:
            job.error = _error(*answer.error)
        elif answer.call is not None:
            job.call = answer.call._replace(inputs=inputs)


def _error(name: str, text: str) -> Exception:
    kind = getattr(inference, name, None)
    if isinstance(kind, type) and issubclass(kind, InferenceError):
        return kind(text)

    return RuntimeError(f"the decoder failed: {text}")
