"""The payload log: a bounded queue of records, and the thread that sends them."""

from __future__ import annotations

import logging
import queue
import threading
from typing import TYPE_CHECKING, Self

import structlog

from service.payloads.sinks import SinkAway, SinkRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.payloads.record import Record
    from service.payloads.sinks import Sink

QUEUE_BYTES = 64 * 1024**2
"""Bytes of bodies that may wait, about."""

FEWEST_RECORDS, MOST_RECORDS = 4, 1000
EXIT_SECONDS = 1.5
"""The time that the last records have to be sent at exit."""

RETRY_SECONDS = 1.0

log = structlog.get_logger("tandem.payloads")


class PayloadLog:
    """Sends records to `sink` while it is entered; to put one never waits.

    While the sink is away the queue fills, and what comes then is dropped and counted.
    It has place for `QUEUE_BYTES` of bodies of `max_bytes`.
    """

    def __init__(self, sink: Sink, max_bytes: int) -> None:
        most = QUEUE_BYTES // (2 * max_bytes)
        size = min(max(most, FEWEST_RECORDS), MOST_RECORDS)
        self._queue: queue.Queue[Record | None] = queue.Queue(size)
        self._sink = sink
        self._ending = threading.Event()
        self._away = False
        self._counts = {"written": 0, "dropped": 0, "refused": 0}
        self._thread = threading.Thread(
            # A sink that hangs must not hold the process.
            target=self._run,
            name="payload log",
            daemon=True,
        )

    @property
    def counts(self) -> Mapping[str, int]:
        """Records by what became of them; those that wait are in none."""
        return dict(self._counts)

    def put(self, record: Record) -> None:
        """Have a record sent, unless too many wait."""
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            self._counts["dropped"] += 1

    def __enter__(self) -> Self:
        # It would tell of each request that it sends.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        refused = self._counts["refused"]
        self._ending.set()
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            # Then the thread isn't waiting for one, and sees that it is to end.
            pass

        self._thread.join(EXIT_SECONDS)
        lost = self._counts["refused"] - refused
        if self._thread.is_alive():
            # Those that wait, and the one that is being sent.
            lost += sum(each is not None for each in [*self._queue.queue]) + 1

        if lost:
            log.warning("payload records lost: their sink is away", records=lost)

    def _run(self) -> None:
        while not (self._ending.is_set() and self._queue.empty()):
            record = self._queue.get()
            if record is not None:
                self._send(record)

        self._sink.close()

    def _send(self, record: Record) -> None:
        """Send a record, again and again while the sink is away."""
        while True:
            try:
                self._sink.send(record)
            except SinkAway as exc:
                self._note(exc)
            except Exception as exc:
                self._refuse(exc)
                return
            else:
                self._note(None)
                self._counts["written"] += 1
                return

            if self._ending.wait(RETRY_SECONDS):
                self._counts["refused"] += 1
                return

    def _refuse(self, exc: Exception) -> None:
        self._counts["refused"] += 1
        expected = isinstance(exc, SinkRefused)
        log.warning("payload not taken", reason=str(exc), exc_info=not expected)

    def _note(self, reason: SinkAway | None) -> None:
        """Log that the sink is away, or there again, once each."""
        if reason is not None and not self._away:
            log.warning("payload log unavailable", reason=str(reason))
        elif reason is None and self._away:
            log.info("payload log available")

        self._away = reason is not None
