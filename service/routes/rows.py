"""Large work as it arrives: its rows are checked and kept, never held."""

from __future__ import annotations

import hashlib
import sys
import uuid
from contextlib import aclosing, contextmanager
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread
from werkzeug.exceptions import BadRequest

from service.jobs.job import JobRequest, Submission
from service.jobs.large import PIECE_BYTES
from service.jobs.npz import record_pieces
from service.jobs.rows import NPY, NPZ, BadRows, predict_body, row_reader
from service.jobs.store import BodyTooLarge, PieceStore, StoreUnavailable
from service.prediction import check
from service.routes.job_submission import current_jobs, idempotency_key, trace_headers
from service.web.context import (
    current_application,
    current_globals,
    current_serving,
)
from service.web.json_body import check_content_encoding
from service.web.keys import current_owner

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from flask import Request

    from inference import ModelSpec
    from service.jobs.job import Job
    from service.jobs.jobs import JobsConfig

T = TypeVar("T")


KEPT_AS = {NPZ: NPY}
"""Types of bodies that are kept in another form."""


async def accept_rows(this: Request, model: ModelSpec) -> Job:
    """Keep a body of rows as a job, while it arrives.

    The first row is checked as a synchronous call does. Raise `BadRequest` for a body
    that isn't what its type says.
    """
    check_content_encoding(this)
    id, jobs = str(uuid.uuid4()), current_jobs()
    store = await jobs.store()

    if not isinstance(store, PieceStore):
        raise NotImplementedError(
            "this server's store of jobs keeps no large work: send fewer rows at a"
            " time, as JSON"
        )

    arrival = Arrival(this, model, jobs.config)

    try:
        await arrival.keep(store, id)
        job = await jobs.submit(arrival.submission(id))
    except BaseException:
        await _drop(store, id)
        raise

    if job.id != id:
        # The same work was sent before.
        await _drop(store, id)

    return job


class Arrival:
    """A body of rows, and what is known of it so far."""

    def __init__(self, this: Request, model: ModelSpec, config: JobsConfig) -> None:
        row_bytes = current_application().config["MAX_CONTENT_LENGTH"]
        self.rows = self.nbytes = self.received = 0
        self.signature = this.args.get("signature_name")
        self._this = this
        self._model = model
        self._config = config
        self._serving = current_serving()
        self._reader = row_reader(this.mimetype, row_bytes)
        self._hash = hashlib.sha256(f"{this.full_path}\n{this.mimetype}\n".encode())
        # Not the bound of a body that is held: the store has its own.
        this.max_content_length = sys.maxsize

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def submission(self, id: str) -> Submission:
        """Return the job of the rows that were kept."""
        this, model, config = self._this, self._model, self._config
        content_type = KEPT_AS.get(this.mimetype, this.mimetype)
        return Submission(
            id=id,
            key=idempotency_key(this),
            digest=self.digest,
            model=model.name,
            version=model.version,
            signature=self.signature,
            request=JobRequest(
                path=this.path,
                headers={"content-type": content_type, **trace_headers(this)},
                body=b"",
                kept_bytes=self.nbytes,
            ),
            total=self.rows,
            unit="rows",
            queue_seconds=config.queue_seconds,
            result_seconds=config.result_seconds,
            owner=current_owner(),
        )

    async def keep(self, store: PieceStore, id: str) -> None:
        """Read, check and keep the body. Raise `BadRequest` and what the store does."""
        packed = self._this.mimetype == NPZ

        try:
            async with aclosing(self._unpacked() if packed else self._pieces()) as body:
                async for piece in body:
                    await self._take(piece)
                    await store.keep_body(id, self.nbytes, piece)
                    self.nbytes += len(piece)

            await self._take(None)
        except BadRows as exc:
            raise BadRequest(str(exc)) from None

        if not self.rows:
            raise BadRequest("the body has no row: send an instance a line")

        current_globals().bytes_in = self.received

    async def _pieces(self) -> AsyncGenerator[bytes]:
        # Read in this greenlet, where a read waits without a thread.
        while piece := self._this.stream.read(PIECE_BYTES):
            self.received += len(piece)
            yield piece

    async def _unpacked(self) -> AsyncGenerator[bytes]:
        """Yield an `.npz` as an `.npy` of records, once all of it is there."""
        most = self._config.body_bytes

        with _room_explained(), TemporaryFile(dir=self._config.scratch) as file:
            async for piece in self._pieces():
                if self.received > most:
                    raise BodyTooLarge(
                        f"The body is over --max-jobs-bytes ({most}). Send fewer rows"
                        " at a time."
                    )

                await self._in_thread(file.write, piece)

            records = record_pieces(file, most)

            while piece := await self._in_thread(next, records, b""):
                yield piece

    async def _in_thread(self, call: Callable[..., T], *args: Any) -> T:
        return await anyio.to_thread.run_sync(
            call, *args, limiter=self._serving.rows_limiter
        )

    async def _take(self, piece: bytes | None) -> None:
        """Count and check the rows of a piece, or those of the end."""
        rows = await self._in_thread(self._cut, piece)

        if rows and not self.rows:
            await self._check_first(rows[:1])

        self.rows += len(rows)

    def _cut(self, piece: bytes | None) -> list[bytes]:
        if piece is None:
            rows = self._reader.end()
        else:
            self._hash.update(piece)
            rows = self._reader.feed(piece)

        self._reader.check(rows, self.rows + 1)
        return rows

    async def _check_first(self, rows: list[bytes]) -> None:
        body = predict_body(self._reader, rows, self.signature)
        engine, decoders = self._serving.engine, self._serving.decoders
        known = await check(engine, self._model, [body], decoders)
        self.signature = self.signature or known


@contextmanager
def _room_explained() -> Iterator[None]:
    """Raise `StoreUnavailable` where there is no room for a temporary file."""
    try:
        yield
    except OSError as exc:
        raise StoreUnavailable(
            f"The body can't be kept while it is read: {exc.strerror}. Make room in"
            " --data-dir, or with --redis in the folder for temporary files."
        ) from exc


async def _drop(store: PieceStore, id: str) -> None:
    with anyio.CancelScope(shield=True):
        await store.drop_body(id)
