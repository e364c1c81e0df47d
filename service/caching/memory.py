"""Answers in the memory of this process."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from service.caching.store import Body, Stored, StoreFigures, nbytes_of

if TYPE_CHECKING:
    from collections.abc import Callable

ENTRY_BYTES = 512
"""Bytes of an entry besides its answer: the key, the objects, their places."""


@dataclass(frozen=True, slots=True)
class _Entry:
    body: Body
    nbytes: int
    put_at: float


class MemoryStore:
    """An `AnswerStore` of at most `nbytes`. `clock` gives seconds."""

    shared = False

    def __init__(
        self, nbytes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most_bytes = nbytes
        self._clock = clock
        self._nbytes = 0
        # The one asked for longest ago comes first.
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._entries.clear()
        self._nbytes = 0

    async def get(self, key: str, seconds: float) -> Stored | None:
        entry = self._entries.get(key)
        if entry is None:
            return None

        age = self._clock() - entry.put_at
        if age >= seconds:
            self._drop(key)
            return None

        self._entries.move_to_end(key)
        return Stored(body=entry.body, age=age)

    async def put(self, key: str, body: Body, seconds: float) -> bool:
        nbytes = nbytes_of(body) + ENTRY_BYTES
        if nbytes > self._most_bytes:
            return False

        if key in self._entries:
            self._drop(key)

        while self._nbytes + nbytes > self._most_bytes:
            self._drop(next(iter(self._entries)))

        self._entries[key] = _Entry(body, nbytes, self._clock())
        self._nbytes += nbytes
        return True

    async def figures(self) -> StoreFigures:
        return StoreFigures(entries=len(self._entries), nbytes=self._nbytes)

    def _drop(self, key: str) -> None:
        self._nbytes -= self._entries.pop(key).nbytes
