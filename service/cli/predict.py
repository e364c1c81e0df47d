"""`tandem predict`: the rows of a file through a model, here or on a server."""

from __future__ import annotations

import hashlib
import os
import sys
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import click

from service.bulk.images import SUFFIXES, ImageFiles, find_images
from service.cli.admin import (
    MODELS,
    REFUSED,
    CommandFailed,
    errors_as_messages,
    find_api_key,
    find_certificate,
    is_number,
)
from service.cli.client import AdminClient, Unreachable
from service.cli.flags import duration, settings_flags
from service.cli.jobs import job_url
from service.cli.offline import INTERRUPTED, OfflineCall, predict_offline
from service.cli.output import list_failed, written
from service.jobs.array import ArrayWriter, failure
from service.jobs.npz import result_archive
from service.jobs.rows import NDJSON, NPY, NPZ, BadRows, LineReader, load_json
from service.settings.compiler import CompilerSettings
from service.terminal.bar import bar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from service.bulk.run import Progress

    Job = dict[str, Any]

PIECE_BYTES = 1 << 18
MIB = 1 << 20
LINE_BYTES = 1 << 30
ERROR_START = b'{"error":'

WAIT_SECONDS = 1.0
"""Wait of one call for progress."""

AWAY_SECONDS = 60.0
"""Longest absence of a server, as for a restart."""

TYPES = {".npy": NPY, ".npz": NPZ}
"""Types of rows by the file's suffix; of all others lines."""

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
    help="Rows: lines of JSON, an array in a file named .npy, an array an input in one "
    "named .npz, images (a file, a folder, or a pattern in quotes), or lines from - "
    "(stdin).",
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
            client = AdminClient(
                url=url,
                api_key=find_api_key(),
                certificate=find_certificate(),
                timeout=timeout,
            )
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


def predict_remotely(
    client: AdminClient,
    model: str,
    source: Path | ImageFiles,
    target: Path | None,
    signature: str | None,
) -> Fetched:
    """Have a server predict the rows as a job; return what was fetched."""
    url = predict_url(model, signature)
    job = submit(client, url, source)

    with interruption_explained(job):
        wait(client, job)
        fetched = fetch(client, job, target)

    client.delete(job_url(job["id"]))
    return fetched


def predict_url(target: str, signature: str | None) -> str:
    """Return the predict URL of `NAME` or `NAME/VERSION`. Raise `ValueError`."""
    name, slash, version = target.partition("/")

    if slash and not is_number(version):
        raise ValueError(f"{target!r} is neither MODEL nor MODEL/VERSION")

    place = f"{MODELS}/{quote(name, safe='')}" + (f"/versions/{version}" * bool(slash))
    query = "" if signature is None else "?" + urlencode({"signature_name": signature})
    return f"{place}:predict{query}"


def submit(client: AdminClient, url: str, source: Path | ImageFiles) -> Job:
    """Send the rows. Return their job: that of an earlier run, unless it failed."""
    headers = {
        "Prefer": "respond-async",
        "Content-Type": _type_of(source),
        "Idempotency-Key": key_of(url, source),
    }
    job = client.upload(url, pieces_of(source), headers)

    if job["status"] in ("failed", "canceled"):
        client.delete(job_url(job["id"]))
        job = client.upload(url, pieces_of(source), headers)

    return job


def _type_of(source: Path | ImageFiles) -> str:
    return (
        NDJSON if isinstance(source, ImageFiles) else TYPES.get(source.suffix, NDJSON)
    )


def key_of(url: str, source: Path | ImageFiles) -> str:
    """Return a key that the same rows for the same model have again."""
    if isinstance(source, ImageFiles):
        digest = hashlib.sha256()

        for line in source.lines():
            digest.update(line)
    elif is_stdin(source):
        return str(uuid.uuid4())
    else:
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")

    digest.update(url.encode())
    return f"tandem-predict-{digest.hexdigest()}"


def pieces_of(source: Path | ImageFiles) -> Iterator[bytes]:
    """Yield a file's content, and show how much of it is sent."""
    if isinstance(source, ImageFiles):
        with bar("sending", "images", source.total) as show:
            for number, line in enumerate(source.lines()):
                yield line
                show(number + 1)

        return

    stdin = is_stdin(source)
    total = None if stdin else source.stat().st_size / MIB

    with sys.stdin.buffer if stdin else source.open("rb") as file:
        with bar("sending", "MiB", total) as show:
            sent = 0

            while piece := file.read(PIECE_BYTES):
                yield piece
                sent += len(piece)
                show(round(sent / MIB))


def is_stdin(source: Path | ImageFiles) -> bool:
    return isinstance(source, Path) and str(source) == "-"


def wait(client: AdminClient, job: Job) -> None:
    """Return once the job has ended, whatever its end; show how far it is."""
    url, total = job_url(job["id"]), job["progress"]["total"]
    prefer = {"Prefer": f"wait={WAIT_SECONDS:g}"}

    def look() -> Job:
        return client.call("GET", url, headers=prefer)

    with bar("predicting", "rows", total) as show:
        while job["status"] in ("queued", "running"):
            job = patiently(look)
            show(job["progress"]["done"])


def patiently(call: Callable[[], Job]) -> Job:
    """Call, and again while the server is away: jobs outlive it."""
    ends = time.monotonic() + AWAY_SECONDS

    while True:
        try:
            return call()
        except Unreachable:
            if time.monotonic() > ends:
                raise

            time.sleep(WAIT_SECONDS)


@dataclass(slots=True, kw_only=True)
class Fetched:
    """A result as it is read: its rows, and those that failed by their number."""

    rows: int = 0
    failed: dict[int, str] = field(default_factory=dict)
    _reader: LineReader = field(default_factory=lambda: LineReader(LINE_BYTES))

    def feed(self, piece: bytes) -> None:
        for line in self._reader.feed(piece):
            self.rows += 1

            if line.startswith(ERROR_START):
                text = failure(load_json(line))

                if text is not None:
                    self.failed[self.rows] = text


def fetch(client: AdminClient, job: Job, target: Path | None) -> Fetched:
    """Write the result as it comes. Raise `CommandFailed` if it makes no array."""
    fetched, total = Fetched(), job["progress"]["total"]
    array = target is not None and target.suffix == ".npy"
    writer = ArrayWriter(total) if array else None

    with written(target) as write, bar("fetching", "rows", total) as show:

        def take(piece: bytes) -> None:
            fetched.feed(piece)
            write(writer.feed(piece) if writer is not None else piece)
            show(fetched.rows)

        try:
            client.download(f"{job_url(job['id'])}/result", take, wait=WAIT_SECONDS)

            if writer is not None:
                write(writer.end())
        except BadRows as exc:
            list_failed(fetched.failed)
            raise CommandFailed(f"can't write {target}: {exc}", REFUSED) from None

    return fetched


def explain(failed: Mapping[int, str], rows: int, target: Path | None) -> None:
    """List the rows that failed. Raise `CommandFailed` if there are any."""
    if not failed:
        return

    list_failed(failed)
    raise CommandFailed(
        f"{len(failed)} of {rows} rows failed; the others are in"
        f" {target or 'the output'}",
        REFUSED,
    )


@contextmanager
def interruption_explained(job: Job) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise CommandFailed(
            f"interrupted; the job goes on. Run the same command for its result, or"
            f" `tandem jobs cancel {job['id']}`",
            INTERRUPTED,
        ) from None
