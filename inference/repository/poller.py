"""Looks at something that may never answer, such as a network mount that is gone."""

from __future__ import annotations

from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Generic, TypeVar

import anyio
import anyio.from_thread
import anyio.lowlevel

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Lookout(Generic[T]):
    """Calls `look` in a thread that neither the loop nor the process waits for.

    There is one thread at most: while a look hangs, nothing else is begun.
    """

    def __init__(self, look: Callable[[], T], *, timeout_seconds: float) -> None:
        self._look = look
        self._timeout = timeout_seconds
        self._latest: _Look[T] | None = None

    async def look(self) -> T:
        """What `look` returns or raises now; one that began before isn't asked.

        Raises `TimeoutError` when that and the one before it take too long together.
        """
        try:
            with anyio.fail_after(self._timeout):
                look = await self._begin()
                await look.ended.wait()
        except TimeoutError:
            raise TimeoutError(f"No answer within {self._timeout:g} s.") from None

        return look.result()

    async def _begin(self) -> _Look[T]:
        # Others may wait too: whoever runs first begins, and the rest wait again.
        while self._latest is not None and not self._latest.ended.is_set():
            await self._latest.ended.wait()

        look = _Look(self._look)
        look.start()
        self._latest = look
        return look


class _Look(Generic[T]):
    """One call of `look`; `ended` is set on the loop that it was made on."""

    def __init__(self, look: Callable[[], T]) -> None:
        self.ended = anyio.Event()
        self._look = look
        self._token = anyio.lowlevel.current_token()
        self._results: list[T] = []
        self._error: BaseException | None = None

    def start(self) -> None:
        # anyio's own threads aren't daemons: a hanging one would keep the process.
        Thread(target=self._run, name="lookout", daemon=True).start()

    def result(self) -> T:
        if self._error is not None:
            raise self._error

        return self._results.pop()

    def _run(self) -> None:
        try:
            self._results.append(self._look())
        except BaseException as exc:
            self._error = exc

        # The loop may have ended meanwhile.
        with suppress(RuntimeError):
            anyio.from_thread.run_sync(self.ended.set, token=self._token)
