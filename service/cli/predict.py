"""`tandem predict`: the rows of a file through a model, here or on a server."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.bulk.images import SUFFIXES, ImageFiles, find_images
from service.cli.admin import (
    REFUSED,
    CommandFailed,
    errors_as_messages,
    find_api_key,
    find_certificate,
)
from service.cli.client import AdminClient
from service.cli.flags import duration, settings_flags
from service.cli.offline import INTERRUPTED, OfflineCall, predict_offline
from service.cli.output import list_failed, written
from service.cli.remote import Fetched, is_stdin, predict_remotely
from service.jobs.npz import result_archive
from service.jobs.rows import BadRows
from service.settings.compiler import CompilerSettings
from service.terminal.bar import bar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from service.bulk.run import Progress

PIECE_BYTES = 1 << 18
MIB = 1 << 20
SERVER_VARIABLE = "TANDEM_SERVER"


def rows_named(
    context: click.Context, option: click.Parameter, text: str
) -> Path | ImageFiles:
    """Return images, or the path of a file of rows. Raise `click.BadParameter`."""
    images = find_images(text)

    if images is not None:
        return images

    if Path(text).is_dir():
        names = ", ".join(sorted(SUFFIXES))
        raise click.BadParameter(f"the folder {text!r} has no files named {names}")

    kind = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
    path: Path = kind.convert(text, option, context)
    return path


@click.command()
@click.argument("model", metavar="MODEL[/VERSION]")
@click.option(
    "--input",
    "source",
    required=True,
    callback=rows_named,
    help="Rows: lines of JSON, an array in a file named .npy, one array per input in a "
    "file named .npz, images (a file, a folder, or a pattern in quotes), or lines from "
    "- (stdin).",
)
@click.option(
    "--output",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=lambda _, __, path: None if path == Path("-") else path,
    help="The file to write: lines of JSON, an array if it is named .npy, or an array "
    "an output if it is named .npz. Without it, or for -, lines go to standard output.",
)
@click.option("--signature", metavar="NAME", help="The model's default without it.")
@click.option(
    "--models",
    type=click.Path(exists=True, path_type=Path),
    help="The folder of models in which MODEL is a name.",
)
@click.option(
    "--server",
    metavar="URL",
    help=f"Let this server do it, not this process. [{SERVER_VARIABLE}]",
)
@click.option(
    "--timeout",
    callback=duration,
    metavar="SECONDS",
    default="600",
    show_default=True,
    help="Seconds that each call may take.",
)
@click.option(
    "--cache-dir",
    "cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder of compiled models.",
)
@settings_flags(CompilerSettings)
def predict(
    model: str,
    source: Path | ImageFiles,
    target: Path | None,
    signature: str | None,
    models: Path | None,
    server: str | None,
    timeout: float,
    cache: Path | None,
    **compiler: Any,
) -> None:
    """Send rows of any number through a model, and write what it answers.

    MODEL is the path of a model file or folder, a name in --models, or the name of a
    model of --server, which works on the rows as a job. After an interruption the same
    command goes on where it was.
    """
    url = server_of(model, models, server)
    done: Fetched | Progress

    with errors_as_messages(), lines_for(target) as lines:
        if url is not None:
            client = _client(url, timeout)
            done = predict_remotely(client, model, source, lines, signature)
        else:
            done = predict_offline(
                OfflineCall(
                    model=model,
                    models=models,
                    source=None if is_stdin(source) else source,
                    target=lines,
                    signature=signature,
                    timeout=timeout,
                    cache=cache,
                    compiler=compiler,
                )
            )

        if target is not None and lines is not None and lines != target:
            pack(lines, target, done)

        explain(done.failed, done.rows, target)


def _client(url: str, timeout: float) -> AdminClient:
    return AdminClient(
        url=url,
        api_key=find_api_key(),
        certificate=find_certificate(),
        timeout=timeout,
    )


@contextmanager
def lines_for(target: Path | None) -> Iterator[Path | None]:
    """Yield where to write: `target`, or a file of lines that becomes an `.npz`.

    That one is removed if the block ends well.
    """
    if target is None or target.suffix != ".npz":
        yield target
        return

    # A name that the same command finds again after an interruption.
    lines = target.with_name(f".{target.name}.ndjson")

    try:
        yield lines
    except CommandFailed as exc:
        if exc.exit_code != INTERRUPTED:
            lines.unlink(missing_ok=True)

        raise

    lines.unlink(missing_ok=True)


def pack(lines: Path, target: Path, done: Progress | Fetched) -> None:
    """Write an `.npz` of a result's lines. Raise `CommandFailed` if they make none."""

    def pieces() -> Iterator[bytes]:
        with lines.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece

    try:
        with written(target) as write, bar("packing", "MiB", None) as show:
            size = 0

            for piece in result_archive(pieces, done.rows):
                write(piece)
                size += len(piece)
                show(round(size / MIB))
    except BadRows as exc:
        list_failed(done.failed)
        raise CommandFailed(f"can't write {target}: {exc}", REFUSED) from None


def server_of(model: str, models: Path | None, server: str | None) -> str | None:
    """Return the server that is meant, `None` for this process.

    Raise `click.UsageError` if the flags don't go together.
    """
    if server is not None and models is not None:
        raise click.UsageError("--server and --models exclude each other: give one")

    if server is not None or models is not None or Path(model).exists():
        return server

    return os.environ.get(SERVER_VARIABLE) or None


def explain(failed: Mapping[int, str], rows: int, target: Path | None) -> None:
    """List the rows that failed. Raise `CommandFailed` if there are any."""
    if not failed:
        return

    list_failed(failed)
    others = f"; the others are in {target or 'the output'}"
    raise CommandFailed(
        f"{len(failed)} of {rows} rows failed{others if len(failed) < rows else ''}",
        REFUSED,
    )
