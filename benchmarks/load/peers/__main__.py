"""Makes the peers' environments: `python -m benchmarks.load.peers install`."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.load.peers import environments


@click.group()
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    default=environments.default_home,
    show_default="~/.cache/tandem-peers",
    help="Where the environments are.",
)
@click.pass_context
def main(context: click.Context, home: Path) -> None:
    """The peers' environments."""
    context.obj = home.resolve()


@main.command()
@click.argument("names", nargs=-1, type=click.Choice(environments.NAMES))
@click.pass_obj
def install(home: Path, names: tuple[str, ...]) -> None:
    """Make them, or those named: minutes, and several GB."""
    for name in names or environments.NAMES:
        click.echo(f"{name}…")
        environments.install(home, name)


@main.command(name="list")
@click.pass_obj
def show(home: Path) -> None:
    """Say which there are."""
    for name in environments.NAMES:
        word = "installed" if environments.installed(home, name) else "absent"
        click.echo(f"{name}: {word}")


if __name__ == "__main__":
    main()
