"""Answers in Redis, shared by all servers that reach it."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any, Self

import anyio
import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from service.caching.store import Body, Stored, StoreFigures, joined, nbytes_of

if TYPE_CHECKING:
    Value = str | bytes | float

ANSWER_SECONDS = 0.02
"""Timeout for Redis: a request waits no longer for it in vain."""

PAUSE_SECONDS = 0.05
"""Time for which Redis isn't asked after a timeout: not again by the same request."""

RETRY_SECONDS = 1.0
"""Time for which a Redis that was away isn't asked; then one request tries it."""

MOST_TIMEOUTS = 3
"""Timeouts in a row after which Redis counts as away: one may be our own loop's."""

MOST_BYTES = 1 << 20
"""The largest answer: a longer one couldn't be sent within `ANSWER_SECONDS`."""

ENTRY_BYTES = 512
"""Bytes of an entry in Redis besides its answer."""

CONNECTIONS = 32
PREFIX = "tandem:cache:"

log = structlog.get_logger("tandem.cache")


class RedisStore:
    """An `AnswerStore` of at most `nbytes` in Redis 7 or newer."""

    shared = True

    def __init__(self, url: str, nbytes: int, *, prefix: str = PREFIX) -> None:
        self._url = url
        self._most_bytes = nbytes
        self._keys = [prefix]
        self._away = False
        self._refused = False
        self._timeouts = 0
        self._ask_again = 0.0

    async def __aenter__(self) -> Self:
        self._pool = BlockingConnectionPool.from_url(
            self._url,
            max_connections=CONNECTIONS,
            # A client's own retries would keep the request waiting.
            retry=Retry(NoBackoff(), 0),
        )
        self._client = Redis.from_pool(self._pool)
        text = files("service.caching").joinpath("answers.lua").read_text("utf-8")
        self._script = self._client.register_script(text)
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            await self._client.aclose()

    async def get(self, key: str, seconds: float) -> Stored | None:
        # An answer put for another time has another key: its age couldn't be told.
        found = await self._ask("get", _timed(key, seconds))
        if found is None:
            return None

        body, milliseconds = found
        return Stored(body=body, age=max(0.0, seconds - milliseconds / 1000))

    async def put(self, key: str, body: Body, seconds: float) -> bool:
        size = nbytes_of(body) + ENTRY_BYTES
        if size > min(MOST_BYTES, self._most_bytes):
            return False

        milliseconds = max(1, int(seconds * 1000))
        bounds = (milliseconds, size, self._most_bytes)
        kept = await self._ask("put", _timed(key, seconds), joined(body), *bounds)
        return kept is not None

    async def figures(self) -> StoreFigures | None:
        found = await self._ask("figures")
        return (
            None if found is None else StoreFigures(entries=found[0], nbytes=found[1])
        )

    async def _ask(self, verb: str, *args: Value) -> Any:
        """Run a verb of the script; `None` if Redis doesn't answer in time."""
        now = anyio.current_time()
        if now < self._ask_again:
            return None

        if self._away:
            # The others don't try it meanwhile.
            self._ask_again = now + RETRY_SECONDS

        try:
            with anyio.fail_after(ANSWER_SECONDS):
                answer = await self._script(keys=self._keys, args=[verb, *args])
        except TimeoutError:
            self._timeouts += 1
            await self._missed("it doesn't answer in time", self._timeouts)
        except ResponseError as exc:
            # It is there, and out of memory, for example.
            if not self._refused:
                log.warning("response cache refused by Redis", reason=str(exc))

            self._refused = True
        except (RedisError, OSError) as exc:
            await self._missed(str(exc), MOST_TIMEOUTS)
        else:
            self._found(verb)
            return answer

        return None

    async def _missed(self, reason: str, times: int) -> None:
        if times < MOST_TIMEOUTS and not self._away:
            self._ask_again = anyio.current_time() + PAUSE_SECONDS
            return

        if not self._away:
            log.warning("response cache away: requests run their model", reason=reason)

        self._away = True
        self._ask_again = anyio.current_time() + RETRY_SECONDS
        # After a restart the connections that wait are dead as well.
        await self._pool.disconnect(inuse_connections=False)

    def _found(self, verb: str) -> None:
        if self._away:
            log.info("response cache back")

        self._away = False
        # A full Redis answers all the same what is there.
        self._refused = self._refused and verb != "put"
        self._timeouts = 0
        self._ask_again = 0.0


def _timed(key: str, seconds: float) -> str:
    return f"{key}:{seconds!r}"
