"""uvicorn on a socket that is bound before anything else starts."""

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
    """The address or port is unavailable; the text says what to do."""


def run_server(settings: Settings) -> None:
    """Serve until a signal ends the server. Raise `CannotListen`.

    Clients may connect at once; early ones are answered once the process has started.
    """
    with listen(settings.host, settings.port) as listener:
        port = listener.getsockname()[1]
        url = settings.url or base_url(settings.host, port)
        settings = settings.model_copy(update={"port": port, "url": url})
        # The worker processes read their settings from it.
        os.environ.update(settings.to_environment())
        configure_logging(settings.log_format, settings.log_level)
        _run(settings, listener)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one. Raise `CannotListen`."""
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
    """Return the URL of a server at `host` and `port` for this machine's clients."""
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
        # Ctrl-C, raised again after the server has shut down.
        return

    if not server.started:
        sys.exit(STARTUP_FAILED)
