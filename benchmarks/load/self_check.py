"""The generator's own speed, against a server that does nothing but answer."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import numpy as np
import uvloop
from httptools import HttpRequestParser

from benchmarks.harness.exchanges import predictions
from benchmarks.harness.generator import Closed, Span
from benchmarks.harness.servers import HOST, free_port, serving

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.harness.generator import Generator

BODY = b'{"predictions":[[0.0]]}'
RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
CONNECTIONS = 32


class Answerer(asyncio.Protocol):
    """The same answer to every request."""

    def __init__(self) -> None:
        self._parser = HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._transport.write(RESPONSE)


def generator_rate(
    generator: Generator, cpus: Sequence[int], seconds: float, log: Path
) -> float:
    """Return the requests a second, small ones, that the generator gets answered."""
    port = free_port()
    zeros = np.zeros((1, 32), np.float32)
    exchanges = predictions(zeros, np.zeros((1, 1)), "/")
    stream = Closed(port=port, exchanges=exchanges, connections=CONNECTIONS)
    command = [sys.executable, "-m", "benchmarks.load.self_check", str(port)]

    with serving(command, port, log, cpus=cpus) as server:
        server.wait_ready(exchanges[0])
        [recording] = generator.run([stream], Span(seconds=seconds))

    return len(recording.ended) / max(recording.ended)


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answerer, HOST, port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
