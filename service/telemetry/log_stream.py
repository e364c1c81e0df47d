"""Standard error as a place for log lines, which never fails and never blocks."""

from __future__ import annotations

import asyncio
import atexit
import errno
import io
import os
import select
import sys
import threading
from collections import deque
from contextlib import suppress

PIECE = select.PIPE_BUF
"""Bytes that a pipe takes at once when it says that it can be written to."""

MAX_BACKLOG_BYTES = 4 * 1024**2
"""Bytes of lines that wait for a slow reader; lines beyond are dropped."""


class LogWriter:
    """Writes lines to a descriptor, by a thread of its own where it would block.

    Lines that can't be written are counted in `dropped`. For any thread.
    """

    # A server logs in the middle of its requests: a full disk, or a reader of a pipe
    # that has stopped or gone, must cost none of them.
    def __init__(self, fd: int) -> None:
        self.dropped = 0
        # Its own: the thread may still write when `fd` is another file already.
        self._fd = os.dup(fd)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLOUT)
        self._lock = threading.Lock()
        self._backlog: deque[bytes] = deque()
        self._backlog_bytes = 0
        self._filled = threading.Event()
        self._thread: threading.Thread | None = None

    def write(self, lines: bytes) -> None:
        """Write whole lines, one or several."""
        with self._lock:
            if self._backlog:
                self._keep(lines)
                return

            try:
                rest = self._write_at_once(lines)
            except OSError:
                self.dropped += lines.count(b"\n")
                return

            if rest:
                self._keep(rest)

    def _write_at_once(self, lines: bytes) -> bytes:
        """Write what is taken without blocking; return the rest."""
        while lines and self._poll.poll(0):
            lines = lines[os.write(self._fd, lines[:PIECE]) :]

        return lines

    def _keep(self, lines: bytes) -> None:
        if self._backlog_bytes + len(lines) > MAX_BACKLOG_BYTES:
            self.dropped += lines.count(b"\n")
            return

        self._backlog.append(lines)
        self._backlog_bytes += len(lines)
        self._filled.set()

        if self._thread is None:
            self._thread = threading.Thread(
                target=self._write_backlog, name="log writer", daemon=True
            )
            self._thread.start()

    def _write_backlog(self) -> None:
        while True:
            self._filled.wait()
            # Left in its place until it is written, so that no other line overtakes it.
            lines = self._backlog[0]
            written = write_all(self._fd, lines)

            with self._lock:
                self._backlog.popleft()
                self._backlog_bytes -= len(lines)
                self.dropped += 0 if written else lines.count(b"\n")
                if not self._backlog:
                    self._filled.clear()


def write_all(fd: int, data: bytes) -> bool:
    """Write all of `data`, waiting as needed; return whether that worked."""
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            # Somebody else has made the pipe non-blocking.
            writable = select.poll()
            writable.register(fd, select.POLLOUT)
            writable.poll()
        except OSError:
            return False

    return True


class StandardError(io.TextIOBase):
    """The current `sys.stderr`, which a progress display may replace for a while.

    Only to a terminal it writes as others do.
    """

    def __init__(self) -> None:
        # Filled by the loop's thread, emptied by any.
        self._soon: deque[bytes] = deque()
        self._stream: object = None
        self._writer: LogWriter | None = None
        self._failed = 0

    @property
    def dropped(self) -> int:
        """The lines that couldn't be written."""
        return self._failed + (self._writer.dropped if self._writer else 0)

    def write(self, text: str) -> int:
        self.write_waiting()
        self._try_to_write(text.encode("utf-8", "backslashreplace"))
        return len(text)

    def write_soon(self, line: bytes) -> None:
        """Write a line in one piece with those that follow in this turn of the loop.

        For the event loop's thread.
        """
        if not self._soon:
            asyncio.get_running_loop().call_soon(self.write_waiting)

        self._soon.append(line)

    def write_waiting(self) -> None:
        """Write now what `write_soon` was given."""
        lines = []
        with suppress(IndexError):
            while True:
                lines.append(self._soon.popleft())

        if lines:
            self._try_to_write(b"".join(lines))

    def _try_to_write(self, lines: bytes) -> None:
        try:
            self._write(lines)
        except (OSError, ValueError, AttributeError):
            self._failed += lines.count(b"\n")

    def _write(self, lines: bytes) -> None:
        stream = sys.stderr
        if stream is not self._stream:
            fd = plain_descriptor(stream)
            self._failed = self.dropped
            self._writer = None if fd is None else LogWriter(fd)
            self._stream = stream

        if self._writer is None:
            stream.write(lines.decode())
            stream.flush()
        else:
            self._writer.write(lines)

    def flush(self) -> None:
        """Write what waits for the end of the loop's turn."""
        self.write_waiting()

    def isatty(self) -> bool:
        try:
            return sys.stderr.isatty()
        except (OSError, ValueError, AttributeError):
            return False


def plain_descriptor(stream: object) -> int | None:
    """Return the descriptor of a stream that is a file, but no terminal."""
    if not isinstance(stream, io.TextIOWrapper):
        return None

    return None if stream.isatty() else stream.fileno()


STANDARD_ERROR = StandardError()
atexit.register(STANDARD_ERROR.flush)


def dropped_lines() -> int:
    """Return how many log lines of this process couldn't be written."""
    return STANDARD_ERROR.dropped


def open_standard_streams() -> None:
    """Open the null device for each standard stream that is closed."""
    # Else the next files to be opened would become them: what a library prints to
    # standard error would go into a database, or to a client.
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError as exc:
            if exc.errno == errno.EBADF:
                null = os.open(os.devnull, os.O_RDONLY if fd == 0 else os.O_WRONLY)
                os.set_inheritable(null, True)

    sys.stdin = sys.stdin or open(0, closefd=False)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)
    sys.stderr = sys.stderr or open(2, "w", buffering=1, closefd=False)
