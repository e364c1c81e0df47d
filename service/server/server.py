"""uvicorn on a socket of ours, bound before anything else is begun."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.supervisors import Multiprocess

from service.server.protocol import JsonErrorProtocol
from service.telemetry.logs import configure_logging

if TYPE_CHECKING:
    from service.settings.settings import Settings

BACKLOG = 2048
EVERY_ADDRESS = ("0.0.0.0", "::")
STARTUP_FAILED = 3


class CannotListen(Exception):
    """The address or port can't be had; the text says what to do."""


def run_server(settings: Settings) -> None:
    """Serve until a signal ends it. Raises `CannotListen`.

    Clients may connect from the first moment; whoever is early waits for the process
    to start, and then is answered. Settings go to the processes by the environment.
    """
    with listen(settings.host, settings.port) as listener:
        port = listener.getsockname()[1]
        url = settings.url or base_url(settings.host, port)
        settings = settings.model_copy(update={"port": port, "url": url})
        os.environ.update(settings.to_environment())
        configure_logging(settings.log_format, settings.log_level)
        _run(settings, listener)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises `CannotListen`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET

    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise CannotListen(
            f"Can't listen at {host}, port {port}: {reason}. Choose another port with "
            "--port, or another address with --host."
        ) from exc

    listener.set_inheritable(True)
    return listener


def base_url(host: str, port: int) -> str:
    """Where a client on this machine reaches a server at `host` and `port`."""
    host = "127.0.0.1" if host in EVERY_ADDRESS else host
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _run(settings: Settings, listener: socket.socket) -> None:
    config = uvicorn.Config(
        "asgi:app",
        workers=settings.workers,
        http=JsonErrorProtocol,
        lifespan="on",
        log_config=None,
        access_log=False,
    )

    if settings.workers > 1:
        Multiprocess(config, sockets=[listener]).run()
        return

    server = uvicorn.Server(config)

    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        # Ctrl-C, raised again once the server has ended in good order.
        return

    if not server.started:
        sys.exit(STARTUP_FAILED)
