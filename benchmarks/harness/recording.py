"""Outcomes of the requests of one stream, and statistics of a window of them."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.harness.clocks import percentile

if TYPE_CHECKING:
    from inference.types import Array

OK = 200
REFUSED = (429, 503)
RESET = 0
"""Stands for the status of a request whose connection ended before its response."""
UNANSWERED = 1
"""Stands for the status of a request that was given up."""
DROPPED = 2
"""Stands for the status of a request that wasn't sent: no connection was free."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Rates a second, times in milliseconds, `None` where there is none.

    `p50` to `p999` are of the answers with 200, `refusal_p99` of the refusals, both
    from the intended start. `goodput` counts the 200s within the bound. `resets`,
    `unanswered`, `dropped`, `wrong` and `statuses` count, the last by status.
    """

    offered: float
    sent: float
    throughput: float
    goodput: float
    p50: float | None
    p90: float | None
    p99: float | None
    p999: float | None
    refusal_p99: float | None
    late_p99: float | None
    statuses: dict[int, int]
    resets: int
    unanswered: int
    dropped: int
    wrong: int


def window(recording: Recording, *, begin: float, end: float, bound: float) -> Window:
    """Return the statistics from second `begin` to `end`.

    Latencies and goodput are those of requests *due* in that window, however late
    they ended; throughput counts the answers that ended in it.
    """
    intended, sent, ended, statuses = map(
        np.asarray,
        (recording.intended, recording.sent, recording.ended, recording.statuses),
    )
    seconds = end - begin
    due = (intended >= begin) & (intended < end)
    fine = statuses == OK
    latency = ended - intended
    answered = latency[due & fine]
    return Window(
        offered=_rate(due, seconds),
        sent=_rate((sent >= begin) & (sent < end) & (statuses != DROPPED), seconds),
        throughput=_rate((ended >= begin) & (ended < end) & fine, seconds),
        goodput=_rate(due & fine & (latency <= bound), seconds),
        p50=percentile(answered, 50),
        p90=percentile(answered, 90),
        p99=percentile(answered, 99),
        p999=percentile(answered, 99.9),
        refusal_p99=percentile(latency[due & np.isin(statuses, REFUSED)], 99),
        late_p99=percentile(np.asarray(recording.late), 99),
        statuses=_counts(statuses),
        resets=int((statuses == RESET).sum()),
        unanswered=int((statuses == UNANSWERED).sum()),
        dropped=int((statuses == DROPPED).sum()),
        wrong=recording.wrong,
    )


def _rate(chosen: Array, seconds: float) -> float:
    return float(np.count_nonzero(chosen)) / seconds


def _counts(statuses: Array) -> dict[int, int]:
    values, counts = np.unique(statuses[statuses > DROPPED], return_counts=True)
    return {int(value): int(n) for value, n in zip(values, counts, strict=True)}
