"""Jobs as JSON documents."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from service.jobs.job import Job


def jobs_document(
    jobs: Sequence[Job], limit: int, root: str, filters: Mapping[str, str]
) -> dict[str, Any]:
    """Return a page of jobs; `next` is the URL of the following one, if any."""
    more = len(jobs) == limit
    query = (
        urlencode({**filters, "limit": limit, "before": jobs[-1].id}) if more else ""
    )
    return {
        "jobs": [job_document(job, root) for job in jobs],
        "next": f"{root}/v1/jobs?{query}" if more else None,
    }


def job_document(job: Job, root: str) -> dict[str, Any]:
    """Return a job as `GET /v1/jobs/{id}` has it; times are RFC 3339, UTC."""
    place = f"{root}/v1/jobs/{job.id}"
    return {
        "id": job.id,
        "model": job.model,
        "version": job.version,
        "signature": job.signature,
        "status": job.status,
        "progress": {
            "done": job.progress.done,
            "total": job.progress.total,
            "unit": job.progress.unit,
        },
        "created_at": _time(job.created_at),
        "started_at": _time(job.started_at),
        "completed_at": _time(job.completed_at),
        "expires_at": _time(job.expires_at),
        "attempts": job.attempts,
        "error": job.error,
        "urls": {
            "self": place,
            "result": f"{place}/result",
            "events": f"{place}/events",
            "cancel": f"{place}/cancel",
        },
    }


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None

    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
