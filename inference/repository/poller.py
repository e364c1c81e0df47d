"""Polling of a repository that may never answer, such as a lost network mount."""

from __future__ import annotations

from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import anyio
import anyio.from_thread
import anyio.lowlevel
import structlog

from inference.errors import first_line
from inference.repository.problem_log import ProblemLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from inference.repository.snapshot import RepositorySnapshot

T = TypeVar("T")

REST = 20
"""Times a scan's duration that the repository is left alone afterwards: thousands of
models take a while, and the interpreter is shared with the requests."""

log = structlog.get_logger("tandem.engine")


class Apply(Protocol):
    def __call__(self, snapshot: RepositorySnapshot, *, quiet: bool = False) -> None:
        """Serve what the snapshot holds; `quiet` says that no file is being written."""


class RepositoryPoller:
    """Scans every `seconds`, logs problems, and hands on each snapshot.

    `error` is why the repository can't be read now.
    """

    def __init__(self, scan: DaemonCall[RepositorySnapshot], *, seconds: float) -> None:
        self.error: str | None = None
        self._scan = scan
        self._seconds = seconds
        self._lock = anyio.Lock()
        self._problem_log = ProblemLog()

    async def first(self) -> RepositorySnapshot:
        """Scan for the first time. Raises what the scan raises."""
        snapshot = await self._scan.call()
        self._problem_log.update(snapshot.problems, at_once=True)
        return snapshot

    async def run(self, apply: Apply) -> None:
        """Poll until cancelled."""
        pause = self._seconds

        while True:
            await anyio.sleep(pause)
            began = anyio.current_time()
            await self.poll(apply)
            pause = max(self._seconds, REST * (anyio.current_time() - began))

    async def poll(self, apply: Apply, *, quiet: bool = False) -> None:
        """Scan and apply the snapshot, or set `error`.

        With `quiet`, files that haven't settled are taken too.
        """
        async with self._lock:
            try:
                snapshot = await self._scan.call()
            except Exception as exc:
                # Loaded models keep serving: the disk may come back.
                self._set_error(exc)
                return

        self.error = None
        self._problem_log.update(snapshot.problems, at_once=quiet)

        try:
            apply(snapshot, quiet=quiet)
        except Exception:
            # A bug of ours must not end polling and serving.
            log.exception("applying a repository scan failed")

    def _set_error(self, error: Exception) -> None:
        reason = f"The repository can't be read: {first_line(error)}"

        if reason != self.error:
            log.error("repository unreadable", reason=reason)

        self.error = reason


class DaemonCall(Generic[T]):
    """Call a function in a thread that neither the loop nor the process waits for.

    There is one thread at most: while a call hangs, no other begins.
    """

    def __init__(self, function: Callable[[], T], *, timeout_seconds: float) -> None:
        self._function = function
        self._timeout = timeout_seconds
        self._latest: _Run[T] | None = None

    async def call(self) -> T:
        """Return what the function returns now; never the result of an earlier run.

        Raises what it raises, and `TimeoutError` when an earlier run and this one take
        too long together.
        """
        try:
            with anyio.fail_after(self._timeout):
                run = await self._start()
                await run.ended.wait()
        except TimeoutError:
            raise TimeoutError(f"No answer within {self._timeout:g} s.") from None

        return run.result()

    async def _start(self) -> _Run[T]:
        # Others may wait too: the first to wake starts a run, the rest wait again.
        while self._latest is not None and not self._latest.ended.is_set():
            await self._latest.ended.wait()

        run = _Run(self._function)
        run.start()
        self._latest = run
        return run


class _Run(Generic[T]):
    """One run of a function; `ended` is set on the loop that created it."""

    def __init__(self, function: Callable[[], T]) -> None:
        self.ended = anyio.Event()
        self._function = function
        self._token = anyio.lowlevel.current_token()
        self._results: list[T] = []
        self._error: BaseException | None = None

    def start(self) -> None:
        # anyio's own threads aren't daemons: a hanging one would keep the process.
        Thread(target=self._run, name="repository scan", daemon=True).start()

    def result(self) -> T:
        if self._error is not None:
            raise self._error

        return self._results.pop()

    def _run(self) -> None:
        try:
            self._results.append(self._function())
        except BaseException as exc:
            self._error = exc

        # The loop may have ended meanwhile.
        with suppress(RuntimeError):
            anyio.from_thread.run_sync(self.ended.set, token=self._token)
