"""A bare ASGI function on uvicorn, as one writes it in an afternoon.

It joins requests while the model runs, in a worker thread under anyio's limiter, and
calls TensorFlow as our runtime does. It validates nothing, counts nothing, limits
nothing, and serves one model. Run as `python -m benchmarks.load.asgi PORT ARTIFACT`.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import anyio.to_thread
import numpy as np
import orjson
import simdjson
import uvicorn

from benchmarks.harness.servers import HOST
from inference.artifacts.artifact import Artifact
from inference.runtime.servable import Servable, Threads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Message: TypeAlias = dict[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Message]]
    Send: TypeAlias = Callable[[Message], Awaitable[None]]

MAX_CALLS = 64


class Bare:
    """The ASGI application."""

    def __init__(self, folder: Path) -> None:
        self._servable = Servable(Artifact(folder), threads=Threads(intra_op=1))
        self._servable.warm_up()
        self._signature = self._servable.manifest.default_signature
        [(self._input, spec)] = self._servable.signatures[
            self._signature
        ].inputs.items()
        self._shape = (-1, *(size or 1 for size in (spec.shape or ())[1:]))
        self._parser = simdjson.Parser()
        self._waiting: list[tuple[Any, asyncio.Future[Any]]] = []
        self._running = False
        self._limiter: anyio.CapacityLimiter | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)

        answers = await self._submit(self._rows(body))
        text = orjson.dumps({"predictions": answers}, option=orjson.OPT_SERIALIZE_NUMPY)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(text)),
        ]
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": text})

    def _rows(self, body: bytes) -> Any:
        document: Any = self._parser.parse(body)
        doubles = document["instances"].as_buffer(of_type="d")
        return np.frombuffer(doubles).astype(np.float32).reshape(self._shape)

    def _submit(self, rows: Any) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting.append((rows, future))

        if not self._running:
            self._running = True
            self._task = loop.create_task(self._run_all())

        return future

    async def _run_all(self) -> None:
        self._limiter = self._limiter or anyio.CapacityLimiter(1)

        while self._waiting:
            batch = self._waiting[:MAX_CALLS]
            del self._waiting[:MAX_CALLS]
            rows = [each for each, _ in batch]
            joined = np.concatenate(rows) if len(rows) > 1 else rows[0]
            answers = await anyio.to_thread.run_sync(
                self._run, joined, limiter=self._limiter
            )
            start = 0

            for each, future in batch:
                if not future.done():
                    future.set_result(answers[start : start + len(each)])

                start += len(each)

        self._running = False

    def _run(self, rows: Any) -> Any:
        [answers] = self._servable.run(self._signature, {self._input: rows}).values()
        return answers


def main(port: int, folder: Path) -> None:
    app = Bare(folder)
    gc.collect()
    gc.freeze()
    uvicorn.run(app, host=HOST, port=port, log_level="error", access_log=False)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
