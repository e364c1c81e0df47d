"""The statistics extension: what was counted of each version's requests. Pure."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

from inference import Duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inference import BatchStatistics, InferenceStatistics, ModelStatus
    from service.caching.cache import Lookups


class VersionStatistics(NamedTuple):
    """A version, its counters, and the cache's look-ups: hits, misses."""

    status: ModelStatus
    counted: InferenceStatistics
    lookups: tuple[Lookups, Lookups] | None = None


def statistics_document(
    models: Iterable[Iterable[VersionStatistics]],
) -> dict[str, Any]:
    return {"model_stats": [_version(each) for each in itertools.chain(*models)]}


def _version(of: VersionStatistics) -> dict[str, Any]:
    status, counted = of.status, of.counted
    return {
        "name": status.id.name,
        "version": str(status.id.version),
        "last_inference": round((status.last_used or 0) * 1000),
        "inference_count": counted.rows,
        "execution_count": counted.runs,
        "inference_stats": {
            "success": _duration(counted.succeeded),
            "fail": _duration(counted.failed),
            "queue": _duration(counted.queued),
            "compute_input": _sum(each.joined for each in counted.batches),
            "compute_infer": _sum(each.ran for each in counted.batches),
            "compute_output": _sum(each.divided for each in counted.batches),
            **_lookups(of.lookups),
        },
        "response_stats": {},
        "batch_stats": [_batch(each) for each in counted.batches],
        "memory_usage": _memory(status),
    }


def _batch(batch: BatchStatistics) -> dict[str, Any]:
    return {
        "batch_size": batch.rows,
        "compute_input": _duration(batch.joined),
        "compute_infer": _duration(batch.ran),
        "compute_output": _duration(batch.divided),
    }


def _lookups(lookups: tuple[Lookups, Lookups] | None) -> dict[str, Any]:
    if lookups is None:
        return {"cache_hit": _duration(Duration()), "cache_miss": _duration(Duration())}

    hits, misses = (
        {"count": each.count, "ns": round(each.seconds * 1e9)} for each in lookups
    )
    return {"cache_hit": hits, "cache_miss": misses}


def _memory(status: ModelStatus) -> list[dict[str, Any]]:
    if not status.memory_bytes:
        return []

    return [{"type": "CPU", "id": "0", "byte_size": status.memory_bytes}]


def _sum(durations: Iterable[Duration]) -> dict[str, int]:
    known = list(durations)
    return {
        "count": sum(each.count for each in known),
        "ns": sum(each.ns for each in known),
    }


def _duration(duration: Duration) -> dict[str, int]:
    return {"count": duration.count, "ns": duration.ns}
