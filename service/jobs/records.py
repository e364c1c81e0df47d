"""Rows of the database of jobs as objects, and the names of their files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.jobs.job import Job, JobStatus, Progress

if TYPE_CHECKING:
    import sqlite3

    from service.jobs.job import Claim


def is_over(row: sqlite3.Row, now: float) -> bool:
    return row["expires_at"] is not None and row["expires_at"] <= now


def body_name(id: str) -> str:
    return f"{id}.body"


def result_name(row: sqlite3.Row) -> str:
    # Named by the run as well: a late one must not replace what was kept.
    return f"{row['id']}.{row['attempts']}.result"


def run_name(claim: Claim) -> str:
    return f"{claim.job.id}.{claim.attempt}.result"


def job_of(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"],
        model=row["model"],
        version=row["version"],
        signature=row["signature"],
        status=JobStatus(row["status"]),
        progress=Progress(done=row["done"], total=row["total"], unit=row["unit"]),
        created_at=row["created_at"],
        started_at=row["started_at"],
        completed_at=row["completed_at"],
        expires_at=row["expires_at"],
        attempts=row["attempts"],
        error=row["error"],
        revision=row["revision"],
        owner=row["owner"],
    )
