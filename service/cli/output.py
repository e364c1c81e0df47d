"""The output of a command: a file that is whole, and rows that failed."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from service.cli.admin import REFUSED, CommandFailed
from service.terminal.tables import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


def list_failed(failed: Mapping[int, str]) -> None:
    """List rows that failed, by their number, on standard error."""
    for number, text in failed.items():
        click.echo(f"! row {number}: {printable(text)}", err=True)


@contextmanager
def written(output: Path | None) -> Iterator[Callable[[bytes], object]]:
    """Write to a file that is there only once it is whole, or to standard output."""
    if output is None:
        yield sys.stdout.buffer.write
        return

    scratch = output.with_name(f".{output.name}.part")

    try:
        with scratch.open("wb") as file:
            yield file.write

        scratch.replace(output)
    except OSError as exc:
        raise CommandFailed(f"can't write {output}: {exc.strerror}", REFUSED) from None
    finally:
        scratch.unlink(missing_ok=True)
