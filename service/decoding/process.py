"""The server's side of a decoder process, which runs `service.decoding.worker`."""

from __future__ import annotations

import pickle
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import anyio.to_thread
import numpy as np

from service.decoding.messages import ANSWER, REQUEST, Answer, Task, Tensor
from service.decoding.shared_memory import SharedBuffer, aligned

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from anyio.abc import Process

    from inference import Array

CHUNK_BYTES = 1 << 18
"""Bytes copied in a turn of the event loop: a millisecond, most of it for pages that
are touched for the first time."""

STRINGS_PER_STEP = 500  # made in a turn of the event loop
COMMAND = (sys.executable, "-P", "-m", "service.decoding.worker")
EXIT_SECONDS = 1.0


class DecoderProcess:
    """A process that the first body starts, for one task at a time."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = command
        # A sixth faster than a pipe for images, where both processes share a CPU.
        self._buffer = SharedBuffer.create()
        self._process: Process | None = None

    @property
    def running(self) -> bool:
        """Return whether the process was started and, as far as is known, runs."""
        return self._process is not None

    async def ask(self, pieces: Sequence[bytes], task: Task) -> Answer:
        """Have a body decoded; `arrays` then returns those that the answer names."""
        if self._process is None:
            self._process = await self._start()

        size = await self._write(pieces)
        head = pickle.dumps(task)
        assert self._process.stdin is not None
        await self._process.stdin.send(REQUEST.pack(len(head), size) + head)
        (length,) = ANSWER.unpack(await self._receive(ANSWER.size))
        answer: Answer = pickle.loads(await self._receive(length))
        return answer

    async def arrays(self, answer: Answer) -> dict[str, Array]:
        """Return copies of the answer's arrays, by name."""
        offset = answer.offset
        arrays: dict[str, Array] = {}

        for tensor in answer.tensors:
            buffers = []
            for size in tensor.sizes:
                buffers.append(await self._read(offset, size))
                offset = aligned(offset + size)

            arrays[tensor.name] = await _array(tensor, buffers)

        return arrays

    async def trim(self) -> None:
        """Free the memory of a large body, off the event loop."""
        if self._buffer.is_large:
            await anyio.to_thread.run_sync(self._buffer.clear)

    async def end(self) -> str:
        """Kill the process after an error; return how it had ended by itself, or ''."""
        if self._process is None:
            return ""

        # A process that broke its pipes is about to end.
        with anyio.move_on_after(EXIT_SECONDS):
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

    async def close(self) -> None:
        await self.kill()
        self._buffer.close()

    async def _start(self) -> Process:
        fd = self._buffer.fd
        command = (*self._command, str(fd))
        return await anyio.open_process(command, stderr=None, pass_fds=(fd,))

    async def _write(self, pieces: Sequence[bytes]) -> int:
        offset = copied = 0

        for piece in pieces:
            view = memoryview(piece)
            for part in _parts(len(piece)):
                self._buffer.write(offset + part.start, view[part])
                copied += part.stop - part.start
                if copied >= CHUNK_BYTES:
                    copied = 0
                    await anyio.lowlevel.checkpoint()

            offset += len(piece)

        return offset

    async def _read(self, offset: int, size: int) -> Array:
        data = np.empty(size, np.uint8)

        for part in _parts(size):
            self._buffer.copy_to(data[part], offset + part.start)
            if part.stop < size:
                await anyio.lowlevel.checkpoint()

        return data

    async def _receive(self, size: int) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        data = b""
        while len(data) < size:
            data += await self._process.stdout.receive(size - len(data))

        return data


def _parts(size: int) -> Iterator[slice]:
    for start in range(0, size, CHUNK_BYTES):
        yield slice(start, min(start + CHUNK_BYTES, size))


async def _array(tensor: Tensor, buffers: Sequence[Array]) -> Array:
    if len(buffers) == 1:
        return np.frombuffer(buffers[0], tensor.dtype).reshape(tensor.shape)

    lengths, content = buffers
    flat = await _strings(lengths.view(np.int64).tolist(), content.data)
    return flat.reshape(tensor.shape)


async def _strings(lengths: list[int], content: memoryview) -> Array:
    result = np.empty(len(lengths), object)
    end = 0
    for index, length in enumerate(lengths):
        start, end = end, end + length
        result[index] = bytes(content[start:end])
        if index % STRINGS_PER_STEP == 0:
            await anyio.lowlevel.checkpoint()

    return result
