"""How fast the generator is against a server that does nothing but answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import uvloop

from benchmarks.load.connection import END, LENGTH
from benchmarks.load.exchanges import exchanges
from benchmarks.load.process import HOST, free_ports, python_server
from benchmarks.load.streams import Closed, Span

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.load.generator import Generator

BODY = b'{"predictions":[[0.0]]}'
RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
CONNECTIONS = 32


class Answerer(asyncio.Protocol):
    """The same answer to every request, found by its length alone."""

    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        received = self._received + data
        ends = received.find(END)
        length = received[:ends].lower().partition(LENGTH)[2].partition(b"\r\n")[0]

        if ends < 0 or len(received) < ends + len(END) + int(length):
            self._received = received
            return

        self._received = b""
        self._transport.write(RESPONSE)


def generator_rate(
    generator: Generator, cpus: list[int], seconds: float, log: Path
) -> float:
    """Requests a second, small ones, that the generator sends and gets answered."""
    [port] = free_ports(1)
    zeros = np.zeros((1, 32), np.float32)
    sent = exchanges(zeros, np.zeros((1, 1)), size=1, form="instances", path="/")
    stream = Closed(port=port, exchanges=sent, connections=CONNECTIONS)

    with python_server("benchmarks.load.self_check", [str(port)], cpus, log) as server:
        server.wait_ready(port, sent[0].request)
        [recording] = generator.run([stream], Span(seconds=seconds))

    return len(recording.ended) / max(recording.ended)


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answerer, HOST, port)
    await server.serve_forever()


if __name__ == "__main__":
    import sys

    uvloop.run(_serve(int(sys.argv[1])))
