"""Counters of answered requests, cheap enough for the smallest of them."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, defaultdict
from itertools import compress
from typing import TYPE_CHECKING, Protocol, TypeAlias

from inference import SECONDS, Histogram, ModelNotFound, VersionNotFound
from service.telemetry.families import BYTES
from service.telemetry.figures import Distribution, Exemplar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference import Engine, ModelSpec
    from service.telemetry.figures import Figures

OK = 200
MAX_NOTED = 512
"""Requests that are noted before they are counted."""


Source: TypeAlias = tuple[str, int | None, str]
"""Who answers requests: a model's name, its version, and the protocol.

The name is empty where no model was found, the version `None` where no version was.
"""

OTHER: Source = ("", None, "other")
"""The source of answers that aren't predictions."""

REASONS = (
    *("bodies_full", "body_too_large", "body_too_slow", "connections_full"),
    *("deadline", "event_loop_busy", "head_too_large", "head_too_slow", "jobs_full"),
    *("key_quota", "malformed", "out_of_memory", "queue_full", "stopping"),
)
"""Reasons of refusals."""


def source_of(engine: Engine, spec: ModelSpec, protocol: str) -> Source:
    """Return who answers, or refuses, a prediction for `spec` now."""
    try:
        model = engine.identify(spec)
    except VersionNotFound:
        return spec.name, None, protocol
    except ModelNotFound:
        # Names that clients make up would be labels without end.
        return "", None, protocol

    return model.name, model.version, protocol


class Origin(Protocol):
    """A view whose requests are noted first, and counted many at a time."""

    def source(self, version: int | None) -> Source:
        """Return who answered; without a version, who would answer now."""


Note: TypeAlias = tuple[Origin, int | None, int, float, int]
"""A request: origin, version that answered, status, seconds, bytes of its body."""


class SourceCounters:
    """The requests of one source."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self._seconds = Histogram(SECONDS)
        self._bytes = Histogram(BYTES)
        self._exemplars: dict[int, Exemplar] = {}

    def add(
        self, statuses: Sequence[int], seconds: Sequence[float], nbytes: Sequence[int]
    ) -> None:
        """Count requests by their statuses, times and bodies."""
        self.statuses.update(statuses)
        if self.statuses.keys() != {OK}:
            good = [status == OK for status in statuses]
            seconds, nbytes = [*compress(seconds, good)], [*compress(nbytes, good)]

        self._seconds.extend(seconds)
        self._bytes.extend(nbytes)

    def exemplify(self, seconds: float, trace_id: str) -> None:
        """Keep a request's trace as an example of those that took as long."""
        bucket = bisect_left(SECONDS, seconds)
        self._exemplars[bucket] = Exemplar(trace_id, seconds, time.time())

    @property
    def seconds(self) -> Distribution:
        return Distribution(*self._seconds.buckets(), dict(self._exemplars))

    @property
    def body_bytes(self) -> Distribution:
        return Distribution(*self._bytes.buckets())


class RequestCounters:
    """The requests that a process answered or refused. For the event loop's thread.

    The direct way only notes its requests in `noted`; whoever adds the last of
    `MAX_NOTED` calls `settle`.
    """

    # To note a request costs 0.2 µs, to count it among many as much again; to count
    # each on its own would cost 2 µs.

    def __init__(self) -> None:
        self.noted: list[Note] = []
        self.sources: defaultdict[Source, SourceCounters] = defaultdict(SourceCounters)
        # A series that begins at 1 has no increase that Prometheus could see.
        self._refusals = Counter(dict.fromkeys(((each, "") for each in REASONS), 0))

    def settle(self) -> None:
        """Count what was noted."""
        groups: defaultdict[tuple[Origin, int | None], list[Note]] = defaultdict(list)
        for note in self.noted:
            groups[note[:2]].append(note)

        self.noted.clear()
        for (origin, version), notes in groups.items():
            _, _, statuses, seconds, nbytes = zip(*notes, strict=True)
            self.sources[origin.source(version)].add(statuses, seconds, nbytes)

    def refuse(self, reason: str, model: str = "") -> None:
        """Count a refusal; the request itself is counted by its source."""
        self._refusals[reason, model] += 1

    def figures(self) -> Figures:
        """Return all that was counted, as the metrics `families.REQUESTS`."""
        self.settle()
        found: Figures = {
            "tandem_requests": {},
            "tandem_request_duration_seconds": {},
            "tandem_request_body_bytes": {},
            "tandem_refusals": {
                labels: float(count) for labels, count in self._refusals.items()
            },
        }

        for source, counters in self.sources.items():
            model, version, protocol = source
            labels = model, "" if version is None else str(version), protocol

            for status, count in counters.statuses.items():
                found["tandem_requests"][*labels, str(status)] = float(count)

            if source != OTHER:
                found["tandem_request_duration_seconds"][labels] = counters.seconds
                found["tandem_request_body_bytes"][labels] = counters.body_bytes

        return found

    def forget(self, models: set[tuple[str, int]]) -> None:
        """Drop the counters of all models but these."""
        for source in list(self.sources):
            model, version, _ = source
            if version is not None and (model, version) not in models:
                del self.sources[source]
