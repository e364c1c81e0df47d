"""Jobs as tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from service.terminal.tables import (
    local_time,
    plain_table,
    print_problems,
    print_table,
    printable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.table import Table

    from service.terminal.tables import Entry

HEADINGS = ("id", "model", "version", "status", "done", "attempts", "created", "ended")
STYLES = {"succeeded": "green", "running": "yellow", "failed": "red", "canceled": "dim"}


def print_jobs(jobs: Sequence[Entry]) -> None:
    """Print a row for each job of `GET /v1/jobs`, then why some failed."""
    print_table(job_table(jobs))
    print_problems(f"{job['id']}: {job['error']}" for job in jobs if job["error"])


def job_table(jobs: Sequence[Entry]) -> Table:
    table = plain_table(HEADINGS)

    for job in jobs:
        table.add_row(*_cells(job))

    return table


def _cells(job: Entry) -> Iterator[Text]:
    status, progress = str(job["status"]), job["progress"]
    yield Text(printable(job["id"]))
    yield Text(printable(job["model"]))
    yield Text("newest" if job["version"] is None else str(job["version"]))
    yield Text(printable(status), style=STYLES.get(status, ""))
    yield Text(f"{progress['done']}/{progress['total']} {printable(progress['unit'])}")
    yield Text(str(job["attempts"]))
    yield Text(local_time(job["created_at"]))
    yield Text(local_time(job["completed_at"]) if job["completed_at"] else "")
