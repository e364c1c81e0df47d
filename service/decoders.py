"""Bodies decoded in processes of their own, so that the event loop isn't held."""

from __future__ import annotations

import pickle
import sys
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import anyio
import anyio.lowlevel
import numpy as np
import structlog

import inference
from inference import InferenceError, Unavailable, available_cpus
from service.codecs.tfserving import PredictCall
from service.decoder_messages import ANSWER, REQUEST, Answer, Task, Tensor
from service.neighbours import Neighbours

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from anyio.abc import Process
    from anyio.streams.memory import (
        MemoryObjectReceiveStream,
        MemoryObjectSendStream,
    )

    from inference import Array, Signature

CHUNK = 1 << 18
"""Bytes handed over between two turns of the event loop."""

STRINGS = 500  # made between two turns of the event loop
TIMEOUT_SECONDS = 120.0
COMMAND = (sys.executable, "-P", "-m", "service.decoder")
LAST_SECONDS = 1.0

log = structlog.get_logger("tandem.decoders")


@dataclass(slots=True, kw_only=True, eq=False)
class _Job:
    """A body on its way; `done` is set once there is a `call` or an `error`."""

    pieces: Sequence[bytes]
    task: Task
    done: anyio.Event = field(default_factory=anyio.Event)
    call: PredictCall | None = None
    error: Exception | None = None

    def result(self) -> PredictCall:
        if self.call is not None:
            return self.call

        raise self.error or Unavailable("the server is stopping")


class Decoders:
    """Up to `count` processes, each started when first needed and replaced when lost.

    An async context manager; on exit they are killed. One body at a time is decoded by
    each: more wait in the order they came. For one event loop. `neighbours` tells whose
    requests come, as what a long body holds up makes it worth handing over or not;
    `turn` is held by the one that the event loop decodes itself.
    """

    def __init__(
        self, count: int | None = None, *, command: Sequence[str] = COMMAND
    ) -> None:
        self._count = count or min(2, available_cpus())
        self._command = command
        self.neighbours = Neighbours()
        self.turn = anyio.Lock()
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
    ) -> PredictCall:
        """What `tfserving.decode` and `bind` make of a body: arrays by input name.

        `inputs` is empty if the body asks for none of `signatures`. Raises what those
        two raise, and `Unavailable` if the process was lost over this body. A caller
        that is cancelled doesn't wait; its body is still decoded, then dropped.
        """
        task = Task(signatures=signatures, default=default_signature)
        job = _Job(pieces=pieces, task=task)
        await self._jobs.send(job)
        await job.done.wait()
        return job.result()

    async def _serve(self, jobs: MemoryObjectReceiveStream[_Job]) -> None:
        child = Child(self._command)
        try:
            with jobs:
                async for job in jobs:
                    await self._answer(child, job)
        finally:
            await child.kill()

    async def _answer(self, child: Child, job: _Job) -> None:
        try:
            with anyio.fail_after(TIMEOUT_SECONDS):
                await self._converse(child, job)
        except Exception as exc:
            how = await child.end() or f"{type(exc).__name__}: {exc}"
            log.error("decoder lost", reason=how)
            job.error = Unavailable(
                f"the process that read this body was lost ({how}): send the request"
                " again, or with fewer rows"
            )
        finally:
            job.done.set()

    async def _converse(self, child: Child, job: _Job) -> None:
        answer = await child.ask(job.pieces, job.task)
        if answer.error is not None:
            job.error = _error(*answer.error)
            return

        inputs = {tensor.name: await child.receive(tensor) for tensor in answer.tensors}
        job.call = PredictCall(answer.form, inputs, answer.signature)


class Child:
    """One decoder process, started by the first body. Used by one task at a time."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: Process | None = None

    async def end(self) -> str:
        """Kill the process after a mishap; says how it had ended if that was why."""
        if self._process is None:
            return ""

        # One that broke its pipes is about to end.
        with anyio.move_on_after(LAST_SECONDS):
            await self._process.wait()

        code = self._process.returncode
        await self.kill()
        return "" if code is None else f"it ended with {code}"

    async def kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return

        with anyio.CancelScope(shield=True):
            with suppress(ProcessLookupError):
                process.kill()

            await process.aclose()

    async def ask(self, pieces: Sequence[bytes], task: Task) -> Answer:
        """Hand a body over; the tensors that the answer names are to be received."""
        if self._process is None:
            self._process = await anyio.open_process(self._command, stderr=None)

        await self._send(pieces, pickle.dumps(task))
        (size,) = ANSWER.unpack(await self._receive(ANSWER.size))
        answer: Answer = pickle.loads(await self._receive(size))
        return answer

    async def receive(self, tensor: Tensor) -> Array:
        buffers = [await self._receive(size) for size in tensor.sizes]
        if len(buffers) == 1:
            return np.frombuffer(buffers[0], tensor.dtype).reshape(tensor.shape)

        lengths, content = buffers
        flat = await _strings(np.frombuffer(lengths, np.int64).tolist(), content)
        return flat.reshape(tensor.shape)

    async def _send(self, pieces: Sequence[bytes], task: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        size = sum(map(len, pieces))
        await self._process.stdin.send(REQUEST.pack(len(task), size) + task)
        for piece in pieces:
            for start in range(0, len(piece), CHUNK):
                await self._process.stdin.send(piece[start : start + CHUNK])

    async def _receive(self, size: int) -> memoryview:
        assert self._process is not None
        assert self._process.stdout is not None
        data = np.empty(size, np.uint8).data
        start = 0
        while start < size:
            chunk = await self._process.stdout.receive(min(CHUNK, size - start))
            data[start : start + len(chunk)] = chunk
            start += len(chunk)

        return data


async def _strings(lengths: list[int], content: memoryview) -> Array:
    result = np.empty(len(lengths), object)
    end = 0
    for index, length in enumerate(lengths):
        start, end = end, end + length
        result[index] = bytes(content[start:end])
        if index % STRINGS == 0:
            await anyio.lowlevel.checkpoint()

    return result


def _error(name: str, text: str) -> Exception:
    kind = getattr(inference, name, None)
    if isinstance(kind, type) and issubclass(kind, InferenceError):
        return kind(text)

    return RuntimeError(f"the decoder failed: {text}")
