"""Server processes' protocol and its end, run in a thread."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import uvicorn

from service.server.process import ServerProcess
from service.server.protocol import JsonErrorProtocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from service.auth.tls import Certificates
    from service.server.limits import ConnectionLimits
    from service.server.process import StopTimes

    Address: TypeAlias = tuple[str, int]


@contextmanager
def listening(
    app: Any,
    limits: ConnectionLimits | None = None,
    times: StopTimes | None = None,
    *,
    protocol: type[JsonErrorProtocol] = JsonErrorProtocol,
) -> Iterator[Address]:
    """Serve `app`; yield the address."""
    with running(app, limits, times, protocol=protocol) as (address, _):
        yield address


@contextmanager
def running(
    app: Any,
    limits: ConnectionLimits | None = None,
    times: StopTimes | None = None,
    *,
    protocol: type[JsonErrorProtocol] = JsonErrorProtocol,
    certificates: Certificates | None = None,
    lifespan: Literal["on", "off"] = "off",
) -> Iterator[tuple[Address, ServerProcess]]:
    """Serve `app`; yield the address and the server, which may be stopped.

    `certificates` make it speak HTTPS.
    """
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan=lifespan,
        log_config=None,
        proxy_headers=False,
    )
    server = ServerProcess(config, limits, times, certificates=certificates)
    thread = threading.Thread(target=server.run, args=([listener],))
    address = listener.getsockname()
    thread.start()

    try:
        yield address, server
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def connect(address: Address) -> socket.socket:
    return socket.create_connection(address, timeout=30)


def read_all(client: socket.socket) -> bytes:
    """Read until the server closes."""
    data = b""

    while piece := client.recv(65536):
        data += piece

    return data
