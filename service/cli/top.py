"""`tandem top`: the live figures of a running server."""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.live import Live

from service.cli.admin import client_command
from service.cli.client import Unreachable
from service.terminal.tables import FILE_WIDTH
from service.terminal.top import top_screen

if TYPE_CHECKING:
    from typing import Any

    from service.cli.client import AdminClient

OVERVIEW = "/v1/overview"


@client_command(token=False)
@click.option("--once", is_flag=True, help="Print the figures once.")
@click.option(
    "--interval",
    type=click.FloatRange(0.2, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="The time between two readings.",
)
def top(client: AdminClient, once: bool, interval: float, for_machines: bool) -> None:
    """Show rates, latencies, queues and memory of a running server, live.

    Where the output is no terminal, once. Ctrl-C ends it.
    """
    document = read(client)
    if for_machines:
        click.echo(json.dumps(document, indent=2))
    elif once or not sys.stdout.isatty():
        terminal = sys.stdout.isatty()
        console = Console(highlight=False, width=None if terminal else FILE_WIDTH)
        console.print(top_screen(document))
    else:
        with suppress(KeyboardInterrupt):
            follow(client, document, interval)


def read(client: AdminClient) -> dict[str, Any]:
    """Return the overview. Raise `CallFailed`, `Unreachable`."""
    document = client.call("GET", OVERVIEW)
    if not document.keys() >= {"server", "models"}:
        raise Unreachable("the answer isn't that of a Tandem server: it has no models")

    return document


def follow(client: AdminClient, document: dict[str, Any], interval: float) -> None:
    """Show the overview anew each `interval` seconds, until interrupted."""
    console = Console(highlight=False)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(top_screen(document, console.height), refresh=True)
            time.sleep(interval)
            document = read(client)
