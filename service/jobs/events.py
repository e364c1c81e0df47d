"""Changes of a job, as they happen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.jobs.job import JobStatus

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from service.jobs.job import Job
    from service.jobs.jobs import Jobs

START, PROGRESS, COMPLETED = "start", "progress", "completed"

PROGRESS_SECONDS = 0.5
"""The least time between two events of progress."""

TICK_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A change of a job: `START`, `PROGRESS` or `COMPLETED`, and how it was then."""

    name: str
    job: Job


async def follow(jobs: Jobs, id: str, seen: int = 0) -> AsyncGenerator[Event | None]:
    """Yield what happens to a job after the revision `seen`, until it has ended.

    Yield `None` about once in `TICK_SECONDS` while nothing happens. Raise what
    `JobStore.get` raises.
    """
    job = await (await jobs.store()).get(id)
    shown = job if job.revision <= seen else None

    while shown is None or not shown.status.ended:
        if shown is not None and job.revision == shown.revision:
            job = await jobs.wait(job, TICK_SECONDS)

            if job.revision == shown.revision:
                yield None

            continue

        name, shown = name_change(shown, job), job

        if name is not None:
            yield Event(name=name, job=job)

        if name == PROGRESS:
            job = await jobs.wait_until_ended(job, PROGRESS_SECONDS)


def name_change(before: Job | None, now: Job) -> str | None:
    """Return the event that tells of a change, if any: none tells of waiting."""
    if now.status.ended:
        return COMPLETED

    if now.status is JobStatus.QUEUED:
        return None

    # A rerun by another server emits `start` again.
    begun = before is None or before.started_at != now.started_at
    return START if begun else PROGRESS
