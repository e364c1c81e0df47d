"""The commands for the jobs of a running server: `tandem jobs list`, …"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import click

from service.cli.admin import REFUSED, CommandFailed, client_command
from service.cli.client import Unreachable
from service.cli.output import written
from service.terminal.jobs import print_jobs
from service.terminal.tables import print_problems

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.cli.client import AdminClient

JOBS = "/v1/jobs"
STATUSES = ("queued", "running", "succeeded", "failed", "canceled")
LARGEST_PAGE = 1000

POLL_SECONDS = 30.0
"""Wait of one call for a result; more calls follow."""

GRACE_SECONDS = 10.0
"""Grace period beyond the requested wait."""


@click.group()
def jobs() -> None:
    """See, fetch and cancel asynchronous predictions."""


def job_url(id: str) -> str:
    return f"{JOBS}/{quote(id, safe='')}"


def show(document: dict[str, Any], for_machines: bool) -> None:
    """Print an answer: a job, or a list of them under `jobs`."""
    if for_machines:
        click.echo(json.dumps(document, indent=2))
        return

    entries = document.get("jobs", [document])

    if not all("progress" in entry for entry in entries):
        raise Unreachable("the answer isn't that of a Tandem server: it has no job")

    if not entries:
        click.echo("There is no job.")
        return

    print_jobs(entries)

    if document.get("next"):
        print_problems([f"there are older ones: add --before {entries[-1]['id']}"])


@click.option("--status", type=click.Choice(STATUSES), help="Only those in this state.")
@click.option("--model", metavar="NAME", help="Only those of this model.")
@click.option(
    "--limit",
    type=click.IntRange(1, LARGEST_PAGE),
    default=100,
    show_default=True,
    help="How many, at most.",
)
@click.option("--before", metavar="ID", help="Only those older than this job.")
def list_jobs(client: AdminClient, for_machines: bool, **wanted: Any) -> None:
    """List jobs, the newest first."""
    query = urlencode({name: value for name, value in wanted.items() if value})
    show(client.call("GET", f"{JOBS}?{query}"), for_machines)


@click.argument("id")
def show_job(client: AdminClient, id: str, for_machines: bool) -> None:
    """Show where a job stands."""
    show(client.call("GET", job_url(id)), for_machines)


@click.argument("id")
def cancel_job(client: AdminClient, id: str, for_machines: bool) -> None:
    """Cancel a job; one that has ended stays as it is."""
    show(client.call("POST", f"{job_url(id)}/cancel"), for_machines)


@click.argument("id")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; standard output without it.",
)
def fetch_result(client: AdminClient, id: str, output: Path | None) -> None:
    """Print the answer of a job, byte for byte, once it has ended.

    Waits for --timeout seconds at most.
    """
    with written(output) as write:
        wait_for_result(client, id, write)


def wait_for_result(
    client: AdminClient, id: str, write: Callable[[bytes], object]
) -> None:
    """Raise `CommandFailed` if there is no result within the client's timeout."""
    ends = time.monotonic() + client.timeout
    left = client.timeout

    while left > 0:
        wait = min(left, POLL_SECONDS)
        patient = replace(client, timeout=wait + GRACE_SECONDS)

        if patient.download(f"{job_url(id)}/result", write, wait=wait):
            return

        left = ends - time.monotonic()

    raise CommandFailed(
        f"the job {id} hasn't ended within {client.timeout:g} seconds: ask again later,"
        " or give a longer --timeout",
        REFUSED,
    )


for name, command in (
    ("list", client_command(token=False)(list_jobs)),
    ("show", client_command(token=False)(show_job)),
    ("cancel", client_command(token=False)(cancel_job)),
    ("result", client_command(token=False, prints=False)(fetch_result)),
):
    jobs.add_command(command, name)
