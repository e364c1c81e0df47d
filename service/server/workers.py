"""The parent of several server processes that share a listening socket."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import connection
from typing import TYPE_CHECKING

import structlog

from service.server.process import RETIRE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.context import SpawnProcess
    from types import FrameType
    from typing import TypeAlias

    Target: TypeAlias = Callable[[socket.socket, socket.socket, bool], None]

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BLOCKED = (*HANDLED, RETIRE)

SILENCE_SECONDS = 60.0
"""A worker whose event loop hasn't turned for so long is replaced."""

MAX_PAUSE_SECONDS = 30.0
"""The longest pause before a worker that ends at once is started again."""

STEADY_SECONDS = 60.0
MARGIN_SECONDS = 20.0
STARTUP_FAILED = 3

BEAT = b"."

log = structlog.get_logger("tandem.server")
spawn = multiprocessing.get_context("spawn")
# Sockets are sent to the workers.
multiprocessing.allow_connection_pickling()


@dataclass(slots=True, kw_only=True, eq=False)
class Worker:
    """A server process, and the socket on which its event loop is heard."""

    process: SpawnProcess
    channel: socket.socket
    started: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)
    serving: bool = False
    retiring: bool = False

    def listen(self, now: float) -> None:
        """Note that the worker was heard."""
        with suppress(BlockingIOError, ConnectionError):
            if self.channel.recv(4096):
                self.heard, self.serving = now, True

    def retire(self, how: int = signal.SIGTERM) -> None:
        """Have the worker end what it is doing, and then itself."""
        self.retiring = True
        if self.process.pid is not None and self.process.is_alive():
            os.kill(self.process.pid, how)

    def bury(self) -> int:
        """Return the exit status of a worker that has ended."""
        self.process.join()
        self.channel.close()
        return self.process.exitcode or 0


class Supervisor:
    """Runs `count` workers, replaces those that end, and stops all within `seconds`.

    A worker whose event loop hasn't turned for `silence_seconds` is replaced, too. On
    SIGHUP all are, one by one, unless `on_hangup` returns false.
    `target` runs in each with the listener, the worker's side of its channel, and
    whether to load the models before it accepts connections.
    """

    def __init__(
        self,
        target: Target,
        listener: socket.socket,
        count: int,
        seconds: float,
        *,
        silence_seconds: float = SILENCE_SECONDS,
        on_hangup: Callable[[], bool] = lambda: True,
    ) -> None:
        self._target = target
        self._listener = listener
        self._count = count
        self._seconds = seconds
        self._silence_seconds = silence_seconds
        self._on_hangup = on_hangup
        self._workers: list[Worker] = []
        self._outdated: list[Worker] = []
        self._signals: list[int] = []
        self._status = 0
        self._pause = 0.0
        self._next_start = 0.0

    def run(self) -> int:
        """Return the exit status once a signal has ended all workers."""
        with self._signals_noted() as wake:
            while not self._stopped():
                self._fill()
                self._wait(wake, 1.0)
                self._reap()
                self._replace_silent()
                self._renew()

            self._stop(wake)

        return self._status

    @contextmanager
    def _signals_noted(self) -> Iterator[socket.socket]:
        wake, woken = socket.socketpair()
        wake.setblocking(False)
        woken.setblocking(False)
        with wake, woken:
            signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
            for number in HANDLED:
                # `nohup` has hang-ups ignored. A script's `&` has interrupts ignored,
                # too, but one that is sent is meant, as a single process takes it.
                ignored = signal.getsignal(number) is signal.SIG_IGN
                if number != signal.SIGHUP or not ignored:
                    signal.signal(number, self._note)

            yield wake
            signal.set_wakeup_fd(-1)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)

    def _stopped(self) -> bool:
        """Take the signals up; return whether the server is to stop."""
        hangups = self._signals.count(signal.SIGHUP)
        terminal = sys.stdin is not None and os.isatty(0)
        if hangups and not terminal:
            self._signals = [n for n in self._signals if n != signal.SIGHUP]
            if self._on_hangup():
                self._outdated = [each for each in self._workers if not each.retiring]
                log.info("restarting workers one by one", workers=len(self._outdated))

        return bool(self._signals or self._status)

    def _active(self) -> list[Worker]:
        return [each for each in self._workers if not each.retiring]

    def _fill(self) -> None:
        """Start the workers that are missing."""
        while (
            len(self._active()) < self._count and self._next_start <= time.monotonic()
        ):
            self._start()

    def _renew(self) -> None:
        """Replace an outdated worker by one that serves already."""
        active = self._active()
        if not self._outdated or not all(each.serving for each in active):
            return

        if len(active) > self._count:
            self._outdated.pop(0).retire(RETIRE)
        elif len(active) == self._count:
            self._start()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        # Beside others that serve, it can take its time.
        wait = any(each.serving for each in self._active())
        process = spawn.Process(
            target=self._target, args=(self._listener, theirs, wait)
        )

        # Until the worker handles signals itself, they wait.
        with theirs, blocked(*BLOCKED):
            process.start()

        self._workers.append(Worker(process=process, channel=ours))

    def _wait(self, wake: socket.socket, seconds: float) -> None:
        """Wait for something to happen, and hear the workers."""
        channels = {each.channel.fileno(): each for each in self._workers}
        ends = [each.process.sentinel for each in self._workers]
        ready = connection.wait([wake.fileno(), *ends, *channels], seconds)
        now = time.monotonic()

        for number in ready:
            if isinstance(number, int) and number in channels:
                channels[number].listen(now)

        with suppress(BlockingIOError):
            wake.recv(4096)

    def _reap(self) -> None:
        for worker in [each for each in self._workers if not each.process.is_alive()]:
            self._workers.remove(worker)
            status = worker.bury()
            if worker in self._outdated:
                self._outdated.remove(worker)

            if worker.retiring:
                self._status = self._status or (1 if status else 0)
            else:
                self._lose(worker, status)

    def _lose(self, worker: Worker, status: int) -> None:
        """Take note of a worker that ended by itself."""
        now = time.monotonic()
        log.error("worker lost", process=worker.process.pid, status=status)

        if not worker.serving and not any(each.serving for each in self._workers):
            log.error("a worker failed to start; stopping")
            self._status = STARTUP_FAILED
        elif not worker.serving and self._outdated:
            log.error("a new worker failed to start; the old ones stay")
            self._outdated.clear()

        steady = now - worker.started > STEADY_SECONDS
        self._pause = 0.0 if steady else min(2 * self._pause or 1.0, MAX_PAUSE_SECONDS)
        self._next_start = now if steady or worker.serving else now + self._pause

    def _replace_silent(self) -> None:
        now = time.monotonic()
        for worker in self._workers:
            if worker.serving and now - worker.heard > self._silence_seconds:
                log.error("worker stuck", process=worker.process.pid)
                worker.process.kill()
                worker.heard = now

    def _stop(self, wake: socket.socket) -> None:
        # Else connections would be made that nobody accepts.
        self._listener.close()
        self._signals.clear()
        end = time.monotonic() + self._seconds + MARGIN_SECONDS
        for worker in self._workers:
            worker.retire()

        while self._workers and time.monotonic() < end and not self._signals:
            self._wait(wake, 1.0)
            self._reap()

        for worker in self._workers:
            worker.process.kill()

        if self._signals:
            os._exit(128 + self._signals[0])

        if self._workers:
            log.error("workers killed that didn't stop", workers=len(self._workers))
            self._status = self._status or 1


@contextmanager
def blocked(*signals: int) -> Iterator[None]:
    """Block signals for this thread and the processes that it starts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def follow_parent(channel: socket.socket) -> Callable[[], None]:
    """Stop this process when its parent has ended; return a beat to be heard by it.

    Only SIGTERM from the parent stops a worker: signals to the whole process group,
    such as that of Ctrl-C, reach the parent as well.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(channel,), daemon=True).start()

    def beat() -> None:
        # A parent that is stopped doesn't read.
        with suppress(OSError):
            channel.send(BEAT, socket.MSG_DONTWAIT)

    return beat


def _end_with(channel: socket.socket) -> None:
    # Nothing is ever sent: the end comes when the last other holder has gone.
    with suppress(OSError):
        channel.recv(1)

    os.kill(os.getpid(), signal.SIGTERM)
