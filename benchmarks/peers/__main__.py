"""Installs the peers: `python -m benchmarks.peers [NAME…]`."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks import peers
from benchmarks.harness.run import default_peers


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(peers.REQUIREMENTS)))
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    default=default_peers,
    show_default="~/.cache/tandem-peers",
    help="The folder of the environments.",
)
def main(names: tuple[str, ...], home: Path) -> None:
    """Make all environments, or those named: minutes, and several GB."""
    for name in names or peers.REQUIREMENTS:
        click.echo(f"{name}…")
        peers.install(home.resolve(), name)


if __name__ == "__main__":
    main()
