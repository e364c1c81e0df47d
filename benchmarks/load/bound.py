"""The upper bound of what uvicorn and TensorFlow allow: no framework, no checks.

A bare ASGI function that joins requests as our server does: while the model runs,
the next batch grows by itself. It validates nothing, counts nothing, has no limits, and
answers every path with the model of that name. Run as `python -m benchmarks.load.bound
PORT NAME=ARTIFACT…`.
"""

from __future__ import annotations

import asyncio
import gc
import math
import sys
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import orjson
import simdjson
import uvicorn

from benchmarks.harness.servers import HOST
from inference.artifacts.artifact import Artifact
from inference.runtime.servable import Servable, Threads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Waiting: TypeAlias = tuple[bytes, asyncio.Future[Any]]
    """The doubles of some rows, and the future of their answers."""
    Message: TypeAlias = dict[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Message]]
    Send: TypeAlias = Callable[[Message], Awaitable[None]]

MAX_ROWS = 64
SWITCH_SECONDS = 0.0005
WIDE = 8
"""From so many outputs on, NumPy's numbers are written faster than Python's."""


class Batcher:
    """One model in a thread of its own, run with all rows that wait for it."""

    def __init__(self, folder: Path) -> None:
        self._servable = Servable(Artifact(folder), threads=Threads(intra_op=1))
        self._servable.warm_up()
        self._signature = self._servable.manifest.default_signature
        signature = self._servable.signatures[self._signature]
        [(self._input, spec)] = signature.inputs.items()
        [self._output] = signature.outputs
        sizes = [size or 1 for size in (spec.shape or ())[1:]]
        self._shape = (-1, *sizes)
        self._row_bytes = 8 * math.prod(sizes)
        self._waiting: list[Waiting] = []
        self._busy = False
        self._batches: SimpleQueue[list[Waiting]] = SimpleQueue()
        Thread(target=self._work, daemon=True).start()

    def submit(self, doubles: bytes) -> asyncio.Future[Any]:
        """Return the rows of the answer, from the next batch but one at the latest."""
        self._loop = asyncio.get_running_loop()
        future = self._loop.create_future()
        self._waiting.append((doubles, future))

        if not self._busy:
            self._busy = True
            # Requests of the same turn of the loop go along.
            self._loop.call_soon(self._start)

        return future

    def _start(self) -> None:
        rows = taken = 0

        for doubles, _ in self._waiting:
            rows += len(doubles) // self._row_bytes

            if taken and rows > MAX_ROWS:
                break

            taken += 1

        self._batches.put(self._waiting[:taken])
        del self._waiting[:taken]

    def _work(self) -> None:
        while True:
            batch = self._batches.get()
            answers = self._run(b"".join([doubles for doubles, _ in batch]))
            self._loop.call_soon_threadsafe(self._finish, batch, answers)

    def _run(self, doubles: bytes) -> Any:
        rows = np.frombuffer(doubles).astype(np.float32).reshape(self._shape)
        [answers] = self._servable.run(
            self._signature, {self._input: rows}, (self._output,)
        ).values()
        return answers if answers.shape[-1] >= WIDE else answers.tolist()

    def _finish(self, batch: Sequence[Waiting], answers: Any) -> None:
        if self._waiting:
            self._start()
        else:
            self._busy = False

        start = 0

        for doubles, future in batch:
            end = start + len(doubles) // self._row_bytes

            if not future.done():
                future.set_result(answers[start:end])

            start = end


class Bound:
    """The ASGI application."""

    def __init__(self, folders: dict[str, Path]) -> None:
        self._parser = simdjson.Parser()
        self._batchers = {
            f"/v1/models/{name}:predict": Batcher(folder)
            for name, folder in folders.items()
        }

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        message = await receive()
        parts = [message["body"]]

        while message["more_body"]:
            message = await receive()
            parts.append(message["body"])

        body = b"".join(parts)
        answers = await self._batchers[scope["path"]].submit(self._doubles(body))
        text = orjson.dumps({"predictions": answers}, option=orjson.OPT_SERIALIZE_NUMPY)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(text)),
        ]
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": text})

    def _doubles(self, body: bytes) -> bytes:
        document: Any = self._parser.parse(body)
        return bytes(document["instances"].as_buffer(of_type="d"))


def main(port: int, folders: dict[str, Path]) -> None:
    app = Bound(folders)
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    uvicorn.run(
        app,
        host=HOST,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=2048,
    )


if __name__ == "__main__":
    named = (argument.partition("=") for argument in sys.argv[2:])
    main(int(sys.argv[1]), {name: Path(folder) for name, _, folder in named})
