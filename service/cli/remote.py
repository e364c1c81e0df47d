"""`tandem predict` on a server: the rows are a job of it."""

from __future__ import annotations

import hashlib
import sys
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from service.bulk.images import ImageFiles
from service.cli.admin import (
    MODELS,
    REFUSED,
    CommandFailed,
    is_number,
)
from service.cli.client import AdminClient, Unreachable
from service.cli.jobs import job_url
from service.cli.offline import INTERRUPTED
from service.cli.output import list_failed, written
from service.jobs.array import ArrayWriter, failure
from service.jobs.rows import NDJSON, NPY, NPZ, BadRows, LineReader, load_json
from service.terminal.bar import bar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
