"""A bare ASGI function on uvicorn: what a server could do that did nothing else.

It joins requests while the model runs, in a worker thread under anyio's limiter. It
validates nothing, counts nothing and limits nothing.

Run as `python -m benchmarks.load.bound PORT NAME=MODEL…`. A frozen graph is called by
a session's callable, the fastest way that TensorFlow itself has; a compiled artifact as
our runtime does.
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

from benchmarks.harness.exchanges import predict_path
from benchmarks.harness.servers import HOST
from inference.artifacts.artifact import Artifact
from inference.runtime.servable import Servable, Threads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from inference.types import Array

    Message: TypeAlias = dict[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Message]]
    Send: TypeAlias = Callable[[Message], Awaitable[None]]
    Run: TypeAlias = Callable[[Array], Array]

MAX_CALLS = 64


class Model:
    """One model, run with all rows that wait for it."""

    def __init__(self, run: Run, shape: Sequence[int | None]) -> None:
        self.shape = (-1, *(size or 1 for size in shape[1:]))
        self._run = run
        self._waiting: list[tuple[Array, asyncio.Future[Array]]] = []
        self._running = False
        self._limiter: anyio.CapacityLimiter | None = None

    def submit(self, rows: Array) -> asyncio.Future[Array]:
        """Return the rows' answers, from the next batch but one at the latest."""
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


class Bound:
    """The ASGI application."""

    def __init__(self, models: dict[str, Model]) -> None:
        self._parser = simdjson.Parser()
        self._models = {predict_path(name): model for name, model in models.items()}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)

        model = self._models[scope["path"]]
        document: Any = self._parser.parse(body)
        doubles = document["instances"].as_buffer(of_type="d")
        del document
        rows = np.frombuffer(doubles).astype(np.float32).reshape(model.shape)
        answer = {"predictions": await model.submit(rows)}
        text = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(text)),
        ]
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": text})


def open_model(path: Path) -> Model:
    return _open_graph(path) if path.suffix == ".pb" else _open_artifact(path)


def _open_artifact(folder: Path) -> Model:
    servable = Servable(Artifact(folder), threads=Threads(intra_op=1))
    servable.warm_up()
    signature = servable.manifest.default_signature
    [(name, spec)] = servable.signatures[signature].inputs.items()

    def run(rows: Array) -> Array:
        [answers] = servable.run(signature, {name: rows}).values()
        return answers

    return Model(run, spec.shape or ())


def _open_graph(file: Path) -> Model:
    """Open a frozen graph of one placeholder, whose last operation is the answer."""
    # Our own runtime needs less of TensorFlow.
    import tensorflow as tf

    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(
            tf.compat.v1.GraphDef.FromString(file.read_bytes()), name=""
        )

    operations = graph.get_operations()
    [rows] = [each.outputs[0] for each in operations if each.type == "Placeholder"]
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=1, inter_op_parallelism_threads=1
    )
    config.experimental.optimize_for_static_graph = True
    session = tf.compat.v1.Session(graph=graph, config=config)
    run = session.make_callable(operations[-1].outputs[0], feed_list=[rows])
    return Model(run, rows.shape.as_list())


def main(port: int, paths: dict[str, Path]) -> None:
    app = Bound({name: open_model(path) for name, path in paths.items()})
    gc.collect()
    gc.freeze()
    uvicorn.run(app, host=HOST, port=port, log_level="error", access_log=False)


if __name__ == "__main__":
    named = (argument.partition("=") for argument in sys.argv[2:])
    main(int(sys.argv[1]), {name: Path(path) for name, _, path in named})
