"""What came of the requests of one stream, as columns; and figures of a window."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference.types import Array

OK = 200
REFUSED = (429, 503)
RESET = 0
"""Stands for the status of a request whose connection ended before its response."""
UNANSWERED = 1
"""Stands for the status of a request that nobody waited for any longer."""


@dataclass(slots=True)
class Recording:
    """A row per request: seconds from the start of the stream, and the status.

    `intended` is when the request was due, `sent` when it got a connection and `ended`
    when its response was whole. `late` is by how many seconds the generator itself
    missed an instant: as opposed to a request that had to wait for a connection.
    `origin` is the start of the stream, by `time.perf_counter`.
    """

    intended: array[float] = field(default_factory=lambda: array("d"))
    sent: array[float] = field(default_factory=lambda: array("d"))
    ended: array[float] = field(default_factory=lambda: array("d"))
    statuses: array[int] = field(default_factory=lambda: array("H"))
    late: array[float] = field(default_factory=lambda: array("d"))
    checked: int = 0
    wrong: int = 0
    origin: float = 0.0

    def add(self, intended: float, sent: float, ended: float, status: int) -> None:
        self.intended.append(intended)
        self.sent.append(sent)
        self.ended.append(ended)
        self.statuses.append(status)


def joined(recordings: Sequence[Recording]) -> Recording:
    """One recording of the same stream in several processes."""
    whole = Recording(origin=min((each.origin for each in recordings), default=0.0))

    for each in recordings:
        for column in ("intended", "sent", "ended", "statuses", "late"):
            getattr(whole, column).extend(getattr(each, column))

        whole.checked += each.checked
        whole.wrong += each.wrong

    return whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one window. Rates a second, times in milliseconds, `None` where there is none.

    `p50` to `p999` are of the answers with 200, `refusal_p99` of the refusals, both
    from the intended start; `..._sent` is the same from when it was sent. `goodput`
    counts the 200s within the bound.
    `resets`, `wrong` and `statuses` count, the last by status.
    """

    seconds: float
    offered: float
    sent: float
    throughput: float
    goodput: float
    p50: float | None
    p90: float | None
    p99: float | None
    p999: float | None
    p99_sent: float | None
    refusal_p99: float | None
    refusal_p99_sent: float | None
    late_p99: float | None
    statuses: dict[str, int]
    resets: int
    unanswered: int
    checked: int
    wrong: int


def figures(recording: Recording, *, begin: float, end: float, bound: float) -> Figures:
    """What happened from second `begin` to `end`.

    Latencies and goodput are those of requests *due* in that window, however late
    they ended; throughput counts the answers that ended in it.
    """
    intended, sent, ended, statuses = (
        np.asarray(column)
        for column in (
            recording.intended,
            recording.sent,
            recording.ended,
            recording.statuses,
        )
    )
    seconds = end - begin
    due = (intended >= begin) & (intended < end)
    fine = statuses == OK
    latency, service = ended - intended, ended - sent
    answered = latency[due & fine]
    refused = due & np.isin(statuses, REFUSED)
    return Figures(
        seconds=seconds,
        offered=_rate(due, seconds),
        sent=_rate((sent >= begin) & (sent < end), seconds),
        throughput=_rate((ended >= begin) & (ended < end) & fine, seconds),
        goodput=_rate(due & fine & (latency <= bound), seconds),
        p50=percentile(answered, 50),
        p90=percentile(answered, 90),
        p99=percentile(answered, 99),
        p999=percentile(answered, 99.9),
        p99_sent=percentile(service[due & fine], 99),
        refusal_p99=percentile(latency[refused], 99),
        refusal_p99_sent=percentile(service[refused], 99),
        late_p99=percentile(np.asarray(recording.late), 99),
        statuses=_counts(statuses),
        resets=int((statuses == RESET).sum()),
        unanswered=int((statuses == UNANSWERED).sum()),
        checked=recording.checked,
        wrong=recording.wrong,
    )


def percentile(seconds: Array, percent: float) -> float | None:
    """In milliseconds: the least value that `percent` of all don't exceed."""
    if not len(seconds):
        return None

    return float(np.percentile(seconds, percent, method="inverted_cdf")) * 1e3


def _rate(chosen: Array, seconds: float) -> float:
    return float(np.count_nonzero(chosen)) / seconds


def _counts(statuses: Array) -> dict[str, int]:
    values, counts = np.unique(statuses[statuses > UNANSWERED], return_counts=True)
    return {str(value): int(n) for value, n in zip(values, counts, strict=True)}
