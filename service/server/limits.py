"""The limits on what a connection may take, and the connections that count."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from uvicorn.server import ServerState

from service.server.known_heads import KnownHeads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.server.connection import Connection

MIN_BYTES_PER_SECOND = 1024
"""A body that arrives, or an answer that is read, more slowly has stalled."""

LINGER_SECONDS = 2.0
"""The wait of a closing connection for its client to close as well."""

SPARE_FILES = 256
"""Descriptors that the server itself needs: models, jobs, child processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Limits on each connection, and on their number; times are in seconds."""

    keep_alive_seconds: float = 75.0
    head_seconds: float = 10.0
    body_seconds: float = 10.0
    write_seconds: float = 10.0
    head_bytes: int = 32 * 1024
    headers: int = 100
    connections: int = 10_000

    @property
    def shortest(self) -> float:
        """Return the shortest of the times, from which to tell how often to look."""
        return min(
            self.keep_alive_seconds,
            self.head_seconds,
            self.body_seconds,
            self.write_seconds,
        )


SERVER = "tandem.server"
"""Key in the `state` of a request's scope: the `Connections` of its server."""


def is_ending(scope: Mapping[str, Any]) -> bool:
    """Return whether the server of a request waits for it to end, to stop."""
    # By the state, since what stands before the application may copy the scope.
    server = (scope.get("state") or {}).get(SERVER)
    return server is not None and server.ending


class Connections(ServerState):
    """The connections of one server, on one event loop.

    Those without a request under way are closed when there are too many: first those
    that never sent one, the oldest first.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        super().__init__()
        self.limits = limits
        self.heads = KnownHeads()
        self.stopping = False  # each answer closes its connection
        self.ending = False  # what could go on for hours is to end now
        self.unready = False
        # In the order in which they went idle; dictionaries are ordered sets.
        self._unused: dict[Connection, None] = {}
        self._idle: dict[Connection, None] = {}

    def all(self) -> list[Connection]:
        return cast("list[Connection]", list(self.connections))

    def add(self, connection: Connection) -> bool:
        """Count a new connection; return whether there is room for its requests."""
        room = self.has_room()
        evicted = None if room else next(iter(self._unused or self._idle), None)
        self._unused[connection] = None

        if evicted is not None:
            self.remove(evicted)
            evicted.transport.abort()

        return room or evicted is not None

    def has_room(self) -> bool:
        """Return whether there are no more connections than allowed."""
        return len(self.connections) <= self.limits.connections

    def remove(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self._unused.pop(connection, None)
        self._idle.pop(connection, None)

    def begin(self, connection: Connection) -> None:
        """Count a connection as busy with a request."""
        if connection in self._idle:
            del self._idle[connection]
        else:
            self._unused.pop(connection, None)

    def end(self, connection: Connection) -> None:
        """Count a connection as idle, after a request."""
        self._idle[connection] = None


def allow_connections(wanted: int) -> int:
    """Raise this process' limit on open files; return how many may be connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + SPARE_FILES
    limit = needed if hard == resource.RLIM_INFINITY else min(needed, hard)

    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        soft = limit

    files = needed if soft == resource.RLIM_INFINITY else min(needed, soft)
    return max(1, files - SPARE_FILES)
