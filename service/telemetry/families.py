"""All metrics: names, kinds, labels, and how values of several processes add up."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from inference import ROWS, SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

BYTES = tuple(float(1 << power) for power in range(8, 28, 2))
"""Bounds for the bytes of a body: 256 to 64 MiB."""

MODEL = ("model", "version")
REQUEST = (*MODEL, "protocol")


class Kind(Enum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Merge(Enum):
    """The value of several processes, of those that each of them has."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A metric, without the `_total` that a counter's samples end in.

    `bounds` are those of a histogram's buckets.
    """

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()
    merge: Merge = Merge.SUM
    bounds: tuple[float, ...] = ()

    @property
    def unit(self) -> str:
        """The unit that its name ends in, if any."""
        last = self.name.rpartition("_")[2]
        return last if last in ("seconds", "bytes") else ""


def counter(name: str, text: str, *labels: str, merge: Merge = Merge.SUM) -> Family:
    return Family(name=name, kind=Kind.COUNTER, text=text, labels=labels, merge=merge)


def gauge(name: str, text: str, *labels: str, merge: Merge = Merge.SUM) -> Family:
    return Family(name=name, kind=Kind.GAUGE, text=text, labels=labels, merge=merge)


def histogram(
    name: str, text: str, *labels: str, bounds: tuple[float, ...] = SECONDS
) -> Family:
    kind = Kind.HISTOGRAM
    return Family(name=name, kind=kind, text=text, labels=labels, bounds=bounds)


REQUESTS = (
    counter(
        "tandem_requests",
        "Answered requests; those that aren't predictions have the protocol other.",
        *REQUEST,
        "status",
    ),
    histogram(
        "tandem_request_duration_seconds",
        "Time from a prediction's headers to its answer, of those answered with 200.",
        *REQUEST,
    ),
    histogram(
        "tandem_request_body_bytes",
        "Bodies of the predictions answered with 200.",
        *REQUEST,
        bounds=BYTES,
    ),
    counter(
        "tandem_refusals",
        "Requests refused because of load or a limit, also those that no model or no "
        "application saw.",
        "reason",
        "model",
    ),
)

CALLS = (
    histogram(
        "tandem_model_queue_seconds",
        "Time of a request in its model's queue.",
        *MODEL,
    ),
    histogram(
        "tandem_model_compute_seconds",
        "Time of a call of the model, which may answer several requests.",
        *MODEL,
    ),
    histogram(
        "tandem_model_batch_rows",
        "Rows of a call of the model.",
        *MODEL,
        bounds=ROWS,
    ),
)

MODELS = (
    gauge(
        "tandem_model_state",
        "1 for the state that the version is in, 0 for the others.",
        *MODEL,
        "state",
        merge=Merge.MAX,
    ),
    gauge(
        "tandem_model_failed",
        "1 while the version can't answer; its status has the reason.",
        *MODEL,
        merge=Merge.MAX,
    ),
    gauge(
        "tandem_model_update_failed",
        "1 while the version answers with older files, because the new ones failed.",
        *MODEL,
        merge=Merge.MAX,
    ),
    gauge(
        "tandem_model_memory_bytes",
        "Memory of the version; 0 while it isn't loaded.",
        *MODEL,
    ),
    gauge(
        "tandem_model_running",
        "Requests of the version that TensorFlow is running.",
        *MODEL,
    ),
    gauge(
        "tandem_model_waiting",
        "Requests of the version that wait in its queue.",
        *MODEL,
    ),
    gauge(
        "tandem_model_orphans",
        "Running requests whose client no longer waits.",
        *MODEL,
    ),
    gauge(
        "tandem_model_tokens",
        "Calls of the version that run, of those it may run at a time.",
        *MODEL,
    ),
)

ENGINE = (
    counter("tandem_model_loads", "Loads that succeeded."),
    counter("tandem_model_load_failures", "Loads that failed."),
    counter(
        "tandem_model_evictions",
        "Versions that were unloaded to free memory for others.",
    ),
    counter(
        "tandem_model_reloads",
        "Loads of evicted versions. Many mean that the budget is too small.",
    ),
    gauge("tandem_models_memory_bytes", "Memory of all loaded versions."),
    gauge("tandem_models_memory_budget_bytes", "Memory that loaded versions may take."),
    gauge(
        "tandem_repository_up",
        "1 while the model repository can be read.",
        merge=Merge.MIN,
    ),
    gauge(
        "tandem_draining",
        "1 while the server reports not ready because it is draining.",
        merge=Merge.MAX,
    ),
)

SERVER = (
    gauge("tandem_workers", "Processes whose figures these are."),
    gauge(
        "tandem_build_info",
        "1, with the server's version.",
        "version",
        merge=Merge.MAX,
    ),
    counter(
        "tandem_log_lines_dropped",
        "Log lines that couldn't be written, or not in time.",
    ),
    gauge("tandem_bodies_bytes", "Bytes of request bodies that are held."),
    counter(
        "tandem_payload_log_records",
        "Predictions for the payload log, by what became of them: written, refused by "
        "the file or URL, or dropped because too many waited.",
        "outcome",
    ),
)

JOBS = (
    gauge(
        "tandem_job_store_up",
        "1 while the store of jobs can be read.",
    ),
    gauge("tandem_jobs", "Jobs by status.", "status"),
    gauge(
        "tandem_jobs_oldest_queued_seconds",
        "Age of the oldest job that waits for a server; 0 when none waits.",
    ),
)

CACHE = (
    counter(
        "tandem_response_cache_requests",
        "Requests of models with cache_seconds, by how they were answered.",
        "outcome",
    ),
    gauge(
        "tandem_response_cache_up",
        "1 while the response cache can be reached.",
        merge=Merge.MIN,
    ),
    gauge("tandem_response_cache_bytes", "Bytes of the answers that are kept."),
    gauge("tandem_response_cache_entries", "Answers that are kept."),
)

PROCESS = (
    counter("process_cpu_seconds", "Total user and system CPU time."),
    gauge("process_resident_memory_bytes", "Resident memory size."),
    gauge("process_virtual_memory_bytes", "Virtual memory size."),
    gauge("process_open_fds", "Number of open file descriptors."),
    gauge(
        "process_max_fds",
        "Maximum number of open file descriptors.",
        merge=Merge.MIN,
    ),
    gauge(
        "process_start_time_seconds",
        "Start time of the process since the epoch.",
        merge=Merge.MIN,
    ),
)

FAMILIES: Mapping[str, Family] = {
    family.name: family
    for group in (REQUESTS, CALLS, MODELS, ENGINE, SERVER, JOBS, CACHE, PROCESS)
    for family in group
}
