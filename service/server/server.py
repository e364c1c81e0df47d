"""uvicorn on a socket that is bound before anything else starts."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import uvicorn

from service.auth.tls import Certificates
from service.server.limits import ConnectionLimits, allow_connections
from service.server.process import BACKLOG, ServerProcess, StopTimes
from service.server.protocol import JsonErrorProtocol
from service.server.workers import STARTUP_FAILED, Supervisor, follow_parent
from service.settings.rereading import SettingsReader
from service.settings.settings import load_settings
from service.telemetry.log_stream import open_standard_streams
from service.telemetry.logs import configure_logging

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service.auth.tls import TlsFiles
    from service.settings.settings import Settings

PARENTS = ("host", "port", "workers", "url", "metrics_dir")
"""Settings that the parent of workers has used up."""

BROKEN = 1
SHARED_MEMORY = "/dev/shm"
EVERY_ADDRESS = ("0.0.0.0", "::")

log = structlog.get_logger("tandem.server")


class CannotListen(Exception):
    """The address or port is unavailable; the text says what to do."""


def run_server(settings: Settings, reader: SettingsReader | None = None) -> int:
    """Serve until a signal ends the server; return the exit status.

    SIGHUP has `reader` read the settings again. Raise `CannotListen`.

    Clients may connect at once; early ones are answered once the process has started.
    """
    open_standard_streams()
    with listen(settings.host, settings.port) as listener:
        port = listener.getsockname()[1]
        url = settings.url or base_url(settings.host, port, tls=settings.tls_files)
        configure_logging(settings.log_format, settings.log_level)
        with metrics_folder(settings) as folder:
            update = {"port": port, "url": url, "metrics_dir": folder}
            settings = settings.model_copy(update=update)
            # The worker processes read their settings from it.
            os.environ.update(settings.to_environment())
            log.info("listening", host=settings.host, port=port, url=url)
            return _run(settings, listener, reader or SettingsReader(settings, {}))


@contextmanager
def metrics_folder(settings: Settings) -> Iterator[Path | None]:
    """Yield the folder in which processes add up their metrics, if they are to."""
    if settings.workers == 1 or settings.metrics_dir is not None:
        yield settings.metrics_dir
        return

    with tempfile.TemporaryDirectory(
        prefix="tandem-metrics-",
        # In memory, and there in containers whose own file system is read-only.
        dir=SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None,
        ignore_cleanup_errors=True,
    ) as folder:
        yield Path(folder)


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


def base_url(host: str, port: int, *, tls: TlsFiles | None = None) -> str:
    """Return the URL of a server at `host` and `port` for this machine's clients."""
    host = "127.0.0.1" if host in EVERY_ADDRESS else host
    scheme = "http" if tls is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _run(settings: Settings, listener: socket.socket, reader: SettingsReader) -> int:
    """Serve; return the exit status."""
    if settings.workers == 1:
        server = ServerProcess(
            uvicorn_config(),
            connection_limits(settings),
            stop_times(settings),
            certificates=certificates(settings),
            on_hangup=reader.read_for_all,
        )
        server.run(sockets=[listener])
        return exit_status(server)

    seconds = settings.drain_delay + settings.grace
    return Supervisor(
        run_worker,
        listener,
        settings.workers,
        seconds,
        on_hangup=partial(renew_environment, settings, reader),
    ).run()


def renew_environment(settings: Settings, reader: SettingsReader) -> bool:
    """Let workers that are started from now on have settings that are read again.

    Return false if those are wrong. The parent's own stay as they are.
    """
    reread = reader.read()
    if reread is None:
        return False

    fixed = [name for name in reread.changed if name in PARENTS]
    if fixed:
        log.warning("settings not changed: they need a restart", settings=fixed)

    own = {name: getattr(settings, name) for name in PARENTS}
    os.environ.update(reread.now.model_copy(update=own).to_environment())
    return True


def run_worker(
    listener: socket.socket, channel: socket.socket, when_settled: bool
) -> None:
    """Serve in a worker process, whose environment has the settings."""
    beat = follow_parent(channel)
    open_standard_streams()
    settings = load_settings()
    configure_logging(settings.log_format, settings.log_level)
    server = ServerProcess(
        uvicorn_config(),
        connection_limits(settings),
        stop_times(settings),
        certificates=certificates(settings),
        supervised=True,
        when_settled=when_settled,
        on_beat=beat,
    )
    server.run(sockets=[listener])
    sys.exit(exit_status(server))


def exit_status(server: ServerProcess) -> int:
    """Return the exit status of a server that has ended."""
    if not server.started:
        return STARTUP_FAILED

    return BROKEN if server.broken else 0


def uvicorn_config() -> uvicorn.Config:
    return uvicorn.Config(
        "asgi:app",
        http=JsonErrorProtocol,
        # Requests that offer one are answered like any other.
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        # Nothing here depends on what a proxy says of the client.
        proxy_headers=False,
    )


def connection_limits(settings: Settings) -> ConnectionLimits:
    """Return the limits for this process; see to it that it may have the files."""
    connections = allow_connections(settings.max_connections)
    if connections < settings.max_connections:
        log.warning(
            "fewer connections than --max-connections",
            connections=connections,
            helps="raise the hard limit of open files: ulimit -Hn, LimitNOFILE",
        )

    return ConnectionLimits(
        keep_alive_seconds=settings.keep_alive,
        head_seconds=settings.header_timeout,
        body_seconds=settings.body_timeout,
        write_seconds=settings.write_timeout,
        head_bytes=settings.max_header_bytes,
        headers=settings.max_headers,
        connections=connections,
    )


def stop_times(settings: Settings) -> StopTimes:
    return StopTimes(drain=settings.drain_delay, grace=settings.grace)


def certificates(settings: Settings) -> Certificates | None:
    files = settings.tls_files
    return None if files is None else Certificates(files)
