"""Which event tells of a change of a job."""

from __future__ import annotations

import pytest

from service.jobs.events import COMPLETED, PROGRESS, START, name_change
from service.jobs.job import Job, JobStatus, Progress


def job(status: JobStatus, *, started_at: float | None = None, done: int = 0) -> Job:
    return Job(
        id="an id",
        model="half",
        version=None,
        signature=None,
        status=status,
        progress=Progress(done=done, total=3, unit="rows"),
        created_at=1.0,
        started_at=started_at,
    )


QUEUED = job(JobStatus.QUEUED)
RUNNING = job(JobStatus.RUNNING, started_at=2.0)
FURTHER = job(JobStatus.RUNNING, started_at=2.0, done=1)
AGAIN = job(JobStatus.RUNNING, started_at=9.0)
ENDED = job(JobStatus.FAILED, started_at=2.0)


@pytest.mark.parametrize(
    ("before", "now", "name"),
    [
        pytest.param(None, QUEUED, None, id="it waits"),
        pytest.param(None, RUNNING, START, id="it runs already"),
        pytest.param(None, ENDED, COMPLETED, id="it has ended already"),
        pytest.param(QUEUED, RUNNING, START, id="it begins"),
        pytest.param(RUNNING, FURTHER, PROGRESS, id="it gets on"),
        pytest.param(RUNNING, AGAIN, START, id="another server begins it anew"),
        pytest.param(RUNNING, QUEUED, None, id="it was given back"),
        pytest.param(RUNNING, ENDED, COMPLETED, id="it ends"),
        pytest.param(QUEUED, ENDED, COMPLETED, id="it ends without a run"),
    ],
)
def test_names_of_changes(before: Job | None, now: Job, name: str | None) -> None:
    assert name_change(before, now) == name
