"""Limits of a job store."""

from __future__ import annotations

from dataclasses import dataclass

from service.jobs.store import JobsFull

REMEMBERED_SECONDS = 24 * 3600.0
"""Time for which an expired job is remembered: 410 in place of 404."""

TOO_LATE = "No server had time for it before its time in the queue was over."
POISONED = "The server ended %d times while it ran this job, which isn't tried again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Limits: unfinished jobs, bytes of bodies and results, attempts."""

    jobs: int = 10_000
    nbytes: int = 4 * 1024**3
    attempts: int = 3

    def check(self, *, jobs: int, stored: int, nbytes: int) -> None:
        """Raise `JobsFull` if a job of `nbytes` has no room beside what there is."""
        if jobs >= self.jobs:
            raise JobsFull(
                f"{jobs} jobs are unfinished, and --max-jobs allows no more."
            )

        self.check_bytes(stored=stored, nbytes=nbytes)

    def check_bytes(self, *, stored: int, nbytes: int) -> None:
        """Raise `JobsFull` if `nbytes` more have no room."""
        if stored + nbytes > self.nbytes:
            raise JobsFull(
                f"The jobs' bodies and results take {stored} bytes; with {nbytes} more "
                f"they would be over --max-jobs-bytes ({self.nbytes})."
            )
