"""`tandem keys`: lines for the file of API keys."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from service.auth.keys import key_line, new_key
from service.auth.token import MAX_CHARS, MIN_CHARS

if TYPE_CHECKING:
    from collections.abc import Callable

RATE = click.FloatRange(min=0, min_open=True)


@click.group()
def keys() -> None:
    """Write lines for the file that `tandem serve --api-keys-file` reads."""


def limits(command: Callable[..., None]) -> Callable[..., None]:
    """Add the name and the limits of a key."""
    model = click.option(
        "--model", "models", multiple=True, help="A model that the key is for; repeat."
    )
    rate = click.option("--rate", type=RATE, help="Requests a second; else no limit.")
    name = click.argument("name")
    return name(model(rate(command)))


@keys.command()
@limits
def new(name: str, models: tuple[str, ...], rate: float | None) -> None:
    """Make a key: its line to standard output, the key itself to standard error."""
    key = new_key()
    _print_line(name, key, models, rate)
    click.echo(f"The key, which is shown only now: {key}", err=True)


@keys.command("hash")
@limits
def hash_(name: str, models: tuple[str, ...], rate: float | None) -> None:
    """Write the line of a key of your own, read from standard input."""
    key = sys.stdin.read(MAX_CHARS + 1).strip()
    printable = key.isascii() and key.isprintable() and " " not in key
    if not (MIN_CHARS <= len(key) <= MAX_CHARS and printable):
        raise click.ClickException(
            f"a key is one word of {MIN_CHARS} to {MAX_CHARS} ASCII characters, and"
            " random: make one with `tandem keys new` or openssl rand -hex 32"
        )

    _print_line(name, key, models, rate)


def _print_line(
    name: str, key: str, models: tuple[str, ...], rate: float | None
) -> None:
    try:
        click.echo(key_line(name, key, models, rate))
    except ValueError as exc:
        raise click.UsageError(str(exc)) from None
