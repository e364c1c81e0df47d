"""One server process: uvicorn, with a bounded end and limits on its connections."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import structlog
import uvicorn

from service.server.limits import ConnectionLimits, Connections
from service.server.readiness import wait_until_settled

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from types import FrameType

    from service.auth.tls import Certificates
    from service.server.connection import Connection

BACKLOG = 2048
RETIRE = signal.SIGUSR1
"""Sent to a worker process that another one has replaced."""

STOP_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM})
SUPERVISED_SIGNALS = frozenset({RETIRE, signal.SIGTERM})
TICK_SECONDS = 0.1
"""The time between two turns of uvicorn's main loop."""

CHECK_SECONDS = 1.0
POLL_SECONDS = 0.05
RETIRE_SECONDS = 2.0
CANCEL_SECONDS = 1.0
CLOSE_SECONDS = 15.0
"""The time that models and jobs may take to close, after the last request."""

log = structlog.get_logger("tandem.server")


@dataclass(frozen=True, slots=True, kw_only=True)
class StopTimes:
    """The times of a server process' end, in seconds.

    It still accepts connections for `drain` after SIGTERM, though it isn't ready; then
    it ends what runs, within `grace`.
    """

    drain: float = 0.0
    grace: float = 20.0


class ServerProcess(uvicorn.Server):
    """A uvicorn that ends in bounded time, for one process.

    The first SIGTERM or SIGINT stops it; the second ends the process, unless it is
    `supervised`: then its parent does that, and `RETIRE` stops it while others go on.
    It stops by itself, `broken`, when the application's background work has failed.
    `on_beat` is called about once a second, `on_hangup` after SIGHUP, both on the event
    loop. With `when_settled` it accepts connections once its models are
    loaded.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        limits: ConnectionLimits | None = None,
        times: StopTimes | None = None,
        *,
        certificates: Certificates | None = None,
        supervised: bool = False,
        when_settled: bool = False,
        on_beat: Callable[[], None] = lambda: None,
        on_hangup: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(config)
        limits = limits or ConnectionLimits()
        self.server_state: Connections = Connections(limits)
        self._times = times or StopTimes()
        self._certificates = certificates
        self._handshake_seconds = limits.head_seconds
        self._supervised = supervised
        self._when_settled = when_settled
        self._on_beat = on_beat
        self._on_hangup = on_hangup
        self._hung_up = False
        self._retires = self._drains = False
        self.broken = False
        self._next_check = 0.0
        self._check_seconds = min(CHECK_SECONDS, limits.shortest / 4)

    # Signals

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals until the process ends, not only while the server runs."""
        # uvicorn raises the signals again at the end, so that the status isn't 0.
        if threading.current_thread() is threading.main_thread():
            numbers = SUPERVISED_SIGNALS if self._supervised else STOP_SIGNALS
            for number in numbers:
                signal.signal(number, self.handle_exit)

            if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
                signal.signal(signal.SIGHUP, self._handle_hangup)

            # A parent has blocked them until here.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())

        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            self._retires, self._drains = sig == RETIRE, sig == signal.SIGTERM
            self.server_state.stopping = True
            self.server_state.unready = not self._retires
            self.should_exit = True
        elif not self._supervised:
            os._exit(128 + sig)

    def _handle_hangup(self, sig: int, frame: FrameType | None) -> None:
        # Sent by a terminal that closes, and by tools that want settings read again.
        if sys.stdin is not None and os.isatty(0):
            self.handle_exit(sig, frame)
        else:
            self._hung_up = True

    # Life

    def _check_application(self) -> None:
        """Stop once the application's lifespan has failed: restarted, it may live."""
        failed = getattr(self.lifespan, "shutdown_failed", False)
        if failed and not self.should_exit:
            log.critical("the application failed while it served; stopping")
            self.broken = self.should_exit = self.server_state.stopping = True
            self.server_state.unready = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])
        if self._when_settled:
            await wait_until_settled(
                self.config.loaded_app, lambda: not self.should_exit
            )

        if not self.should_exit:
            await self._accept(sockets or [])

    async def on_tick(self, counter: int) -> bool:
        await self._check_connections()
        self._check_application()
        if counter % round(1 / TICK_SECONDS) == 0:
            self._on_beat()
            if self._certificates is not None:
                self._certificates.refresh()

        if self._hung_up:
            self._hung_up = False
            self._on_hangup()

        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        log.info("stopping", grace_seconds=self._times.grace)
        if self._drains:
            await self._wait_while(lambda: True, self._times.drain)

        for server in self.servers:
            server.close()

        for listener in sockets or []:
            listener.close()

        # One that was accepted a moment ago is known a turn later.
        await asyncio.sleep(0)
        if self._retires:
            # Others are there for its clients: none should send a request just as its
            # idle connection is closed.
            await self._wait_while(self._has_connections, RETIRE_SECONDS)

        await self._end_requests()
        await self._close_application()

    async def _accept(self, sockets: list[socket.socket]) -> None:
        loop = asyncio.get_running_loop()

        kind = cast("type[Connection]", self.config.http_protocol_class)

        def connection() -> Connection:
            return kind(self.config, self.server_state, self.lifespan.state, loop)

        tls: dict[str, Any] = {}
        if self._certificates is not None:
            tls["ssl"] = self._certificates.context
            tls["ssl_handshake_timeout"] = self._handshake_seconds

        self.servers = [
            await loop.create_server(connection, sock=listener, backlog=BACKLOG, **tls)
            for listener in sockets
        ]

    async def _end_requests(self) -> None:
        self.server_state.ending = True
        for each in self.server_state.all():
            each.shutdown()

        if await self._wait_while(self._is_busy, self._times.grace):
            log.warning(
                "requests refused that took longer than --grace",
                requests=sum(each.is_busy() for each in self.server_state.all()),
            )

        for each in self.server_state.all():
            each.end()

        if await self._wait_while(self._has_tasks, CANCEL_SECONDS):
            for task in self.server_state.tasks:
                task.cancel()

            await self._wait_while(self._has_tasks, CANCEL_SECONDS)

        # For the clients to read what they were told.
        await self._wait_while(self._has_connections, CANCEL_SECONDS)
        for each in self.server_state.all():
            each.transport.abort()

    async def _close_application(self) -> None:
        closing = asyncio.ensure_future(self.lifespan.shutdown())
        await asyncio.wait([closing], timeout=CLOSE_SECONDS)

        if not closing.done():
            # A kernel that never returns can't be called off, and would hold the exit.
            log.error("ended while a model was still running")
            os._exit(1)

    async def _wait_while(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until a condition is false; return whether it held for too long."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while condition():
            if loop.time() >= end:
                return True

            await self._check_connections()
            await asyncio.sleep(min(POLL_SECONDS, seconds))

        return False

    def _is_busy(self) -> bool:
        busy = any(each.is_busy() for each in self.server_state.all())
        return busy or self._has_tasks()

    def _has_connections(self) -> bool:
        return bool(self.server_state.connections)

    def _has_tasks(self) -> bool:
        return bool(self.server_state.tasks)

    async def _check_connections(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._next_check:
            return

        # First what has arrived while the loop was busy is read: that wasn't slow.
        await asyncio.sleep(0)
        now = loop.time()
        self._next_check = now + self._check_seconds
        for each in self.server_state.all():
            each.check(now)
