"""The script `verbs.lua` on a Redis that may be away and come back."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import RedisError, ResponseError

from service.jobs.store import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Value = str | bytes | float

PATIENCE_SECONDS = 2.0
"""Timeout for Redis to answer: it may be busy without being away."""

TRANSFER_SECONDS = 20.0
"""Timeout for one read or write, of the largest body too. No command blocks."""

CONNECTIONS = 32


class Script:
    """Runs the verbs. It connects when it is asked something, and again if need be.

    `prefix` begins all keys. Use it as a context manager.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self._url = url
        self._keys = [f"{prefix}:"]

    async def __aenter__(self) -> Script:
        self._pool = BlockingConnectionPool.from_url(
            self._url,
            max_connections=CONNECTIONS,
            socket_connect_timeout=PATIENCE_SECONDS,
            socket_timeout=TRANSFER_SECONDS,
            # A client's own retries would keep the caller waiting.
            retry=Retry(NoBackoff(), 0),
        )
        self._client = Redis.from_pool(self._pool)
        text = files("service.jobs").joinpath("verbs.lua").read_text("utf-8")
        self._script = self._client.register_script(text)
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            await self._client.aclose()

    async def call(
        self,
        verb: str,
        now: float | None,
        *args: Value,
        answer_seconds: float = PATIENCE_SECONDS,
    ) -> Any:
        """Run a verb, if Redis says in time that it is there.

        `now` is in seconds since 1970, by default that of Redis. Raise
        `StoreUnavailable`.
        """
        with self._errors():
            # Asked first: a body may take longer than a client is to wait.
            with anyio.fail_after(answer_seconds):
                await self._ping()

            values = [verb, "" if now is None else now, *args]
            return await self._script(keys=self._keys, args=values)

    async def settings(self, *names: str) -> Mapping[str, str]:
        """Return settings of Redis, or none where it hides them."""
        with self._errors(), suppress(ResponseError):
            found: Any = await self._client.config_get(*names)
            return dict(found)

        return {}

    async def _ping(self) -> None:
        try:
            await self._client.ping()
        except Disconnected:
            # It may have been restarted: then the other connections are dead as well.
            await self._pool.disconnect(inuse_connections=False)
            await self._client.ping()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError) as exc:
            reason = str(exc).rstrip(".") or "it does not answer"
            raise StoreUnavailable(
                f"The job store at {_place(self._url)} can't be used: {reason}. Start "
                "it, or correct --redis."
            ) from exc


def _place(url: str) -> str:
    """Return a URL without its user and password, for logs and clients."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
