"""Runs large work: reads its rows, calls the model in chunks, keeps what it answers.

Memory holds a few chunks and their answers, whatever the size of the work.
"""

from __future__ import annotations

from collections import deque
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import orjson
import structlog

from service.jobs.answers import TRY_LATER, error_of, pause_of
from service.jobs.job import JobRequest, JobResult
from service.jobs.rows import (
    NDJSON,
    ArrayReader,
    BadRows,
    chunk_length,
    error_line,
    predict_body,
    result_lines,
    row_reader,
)
from service.jobs.store import JobError, JobsFull, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

    from anyio.abc import TaskGroup
    from numpy.typing import NDArray

    from service.jobs.chunk_size import ChunkSize
    from service.jobs.job import Claim
    from service.jobs.rows import RowReader
    from service.jobs.store import PieceStore

    Call = Callable[[JobRequest, str], Awaitable[JobResult]]

log = structlog.get_logger("tandem.jobs")

PIECE_BYTES = 256 * 1024
CHUNK_BYTES = 1024 * 1024

ADVANCE_SECONDS = 0.25
GIVE_WAY_SECONDS = 0.01
GIVE_WAY_TIMES = 100
"""Number of times that a chunk lets synchronous requests for its model go first."""

MOST_FAILED = 100
MOST_TRIES = 60

ROW_FAULTS = {400, 413, 500, 504}
"""Statuses of a chunk that one of its rows may be the reason of."""

FAILED_ROWS = "tandem-failed-rows"
"""The header of a result that says how many rows failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunks:
    """Sizes of large work's pieces: `rows` a chunk, at most `row_bytes` a row.

    `at_once` chunks are with the model, one where synchronous calls come.
    """

    rows: int = 64
    row_bytes: int = 64 * 1024 * 1024
    at_once: int = 2


class ArrayCalls(Protocol):
    """The engine's part of large work, without HTTP."""

    async def call(
        self,
        request: JobRequest,
        signature: str | None,
        columns: Mapping[str, NDArray[Any]],
    ) -> JobResult:
        """Make the request, with rows in arrays by input name as its body."""
        ...

    def chunk_size(
        self, request: JobRequest, signature: str | None, *, grows: bool
    ) -> ChunkSize | None:
        """Return the size to begin with, `None` if it isn't known."""
        ...

    def shared(self) -> bool:
        """Return whether synchronous calls came just now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """The way of large work to models.

    `json` makes a request, of which `arrays` are the same for rows of numbers. `busy`
    names the models whose synchronous requests wait.
    """

    json: Call
    busy: Callable[[], Sequence[str]]
    arrays: ArrayCalls | None = None


class CallEnded(Exception):
    """A call whose answer is that of the whole job."""

    def __init__(self, result: JobResult) -> None:
        super().__init__(result.status)
        self.result = result


class LargeRun:
    """One run of a job whose body was kept in pieces.

    A chunk that fails is halved until the row is found whose fault it is: that row's
    line of the result has its error, and the others are answered.
    """

    def __init__(
        self,
        store: PieceStore,
        calls: Calls,
        claim: Claim,
        request: JobRequest,
        chunks: Chunks,
    ) -> None:
        self._store = store
        self._calls = calls
        self._claim = claim
        self._request = request
        self._chunks = chunks
        self._reader: RowReader = row_reader(
            request.headers["content-type"], chunks.row_bytes
        )
        self._size: ChunkSize | None = None

        if calls.arrays is not None:
            self._size = calls.arrays.chunk_size(
                request,
                claim.job.signature,
                grows=isinstance(self._reader, ArrayReader),
            )

        self._done = 0
        self._failed = 0
        self._advanced = 0.0
        self._last_seconds = 0.0
        self._kept_bytes = 0
        self._lines: list[bytes] = []
        self._lines_bytes = 0

    async def run(self) -> JobResult | None:
        """Return the result, its body kept; `None` if the claim is lost."""
        async with anyio.create_task_group() as tasks:
            result = await self._result(tasks)
            tasks.cancel_scope.cancel()

        return result

    async def _result(self, tasks: TaskGroup) -> JobResult | None:
        try:
            return await self._run(tasks)
        except CallEnded as ended:
            return ended.result
        except JobsFull as exc:
            return _failure(507, str(exc))
        except BadRows as exc:
            return _failure(500, str(exc))
        except StoreUnavailable as exc:
            # The runner gives the job back once the store is there.
            return _failure(503, str(exc))
        except JobError as exc:
            # Canceled.
            log.info("large work left", id=self._claim.job.id, reason=str(exc))
            return None

    async def _run(self, tasks: TaskGroup) -> JobResult | None:
        begun, waiting = 0, deque[_Chunk]()

        async with aclosing(self._read()) as chunks:
            async for rows in chunks:
                await self._give_way(waiting)
                waiting.append(_Chunk(rows=rows, number=begun + 1))
                begun += len(rows)
                tasks.start_soon(self._fill, waiting[-1])

                while len(waiting) >= self._at_once():
                    if not await self._end(waiting.popleft()):
                        return None

        while waiting:
            if not await self._end(waiting.popleft()):
                return None

        await self._keep()
        headers = {"content-type": NDJSON, FAILED_ROWS: str(self._failed)}
        return JobResult(
            status=200, headers=headers, body=b"", kept_bytes=self._kept_bytes
        )

    def _at_once(self) -> int:
        return 1 if self._shared() else self._chunks.at_once

    def _shared(self) -> bool:
        return self._calls.arrays is not None and self._calls.arrays.shared()

    async def _fill(self, chunk: _Chunk) -> None:
        """Answer a chunk; its error waits until its turn has come."""
        started, shared = anyio.current_time(), self._shared()

        try:
            chunk.lines = await self._answer(chunk.rows, chunk.number)
        except Exception as exc:
            chunk.error = exc
        else:
            self._last_seconds = anyio.current_time() - started

            if self._size is not None:
                self._size.note(len(chunk.rows), self._last_seconds, shared=shared)
        finally:
            chunk.ended.set()

    async def _end(self, chunk: _Chunk) -> bool:
        """Take a chunk's lines, in order; return whether the claim holds."""
        await chunk.ended.wait()

        if chunk.error is not None:
            raise chunk.error

        self._lines.append(chunk.lines)
        self._lines_bytes += len(chunk.lines)
        self._done += len(chunk.rows)

        if self._lines_bytes >= PIECE_BYTES:
            await self._keep()

        return await self._advance()

    async def _keep(self) -> None:
        piece = b"".join(self._lines)
        self._lines, self._lines_bytes = [], 0
        await self._store.keep_result(self._claim, self._kept_bytes, piece)
        self._kept_bytes += len(piece)

    async def _read(self) -> AsyncGenerator[list[bytes]]:
        """Yield the rows in chunks."""
        rows: list[bytes] = []
        start = 0

        while piece := await self._store.body_piece(
            self._claim.job.id, start, PIECE_BYTES
        ):
            start += len(piece)
            rows += self._reader.feed(piece)

            while (count := self._chunk_length(rows)) < len(rows):
                yield rows[:count]
                del rows[:count]

        rows += self._reader.end()

        while rows:
            count = self._chunk_length(rows)
            yield rows[:count]
            del rows[:count]

    def _chunk_length(self, rows: Sequence[bytes]) -> int:
        most = self._chunks.rows

        if self._size is not None:
            most = self._size.rows(shared=self._shared())

        return chunk_length(rows, most, CHUNK_BYTES)

    async def _give_way(self, waiting: Sequence[_Chunk]) -> None:
        """Let synchronous requests go first, for a while."""
        if self._shared():
            # A call that comes finds the machine free as often as not.
            await anyio.sleep(self._last_seconds)

        for _ in range(GIVE_WAY_TIMES):
            if self._claim.job.model not in self._calls.busy():
                return

            begun = [chunk for chunk in waiting if not chunk.ended.is_set()]

            if begun:
                # The call that waits may be the run's own.
                await begun[0].ended.wait()
            else:
                await anyio.sleep(GIVE_WAY_SECONDS)

    async def _answer(self, rows: Sequence[bytes], number: int) -> bytes:
        """Return the lines for rows, of which the first is row `number`."""
        result = await self._called(rows)

        if result.status < 400:
            return result_lines(result.body, len(rows))

        if result.status not in ROW_FAULTS:
            raise CallEnded(result)

        if len(rows) == 1:
            return self._failed_line(result, number)

        half = len(rows) // 2
        first = await self._answer(rows[:half], number)
        return first + await self._answer(rows[half:], number + half)

    def _failed_line(self, result: JobResult, number: int) -> bytes:
        text = error_of(result) or ""
        self._failed += 1

        if self._failed > MOST_FAILED:
            raise CallEnded(
                _failure(
                    400, f"More than {MOST_FAILED} rows failed. Row {number}: {text}"
                )
            )

        return error_line(text)

    async def _called(self, rows: Sequence[bytes]) -> JobResult:
        for _ in range(MOST_TRIES):
            result = await self._call(rows)

            if result.status not in TRY_LATER:
                return result

            await anyio.sleep(pause_of(result))

        raise CallEnded(result)

    async def _call(self, rows: Sequence[bytes]) -> JobResult:
        signature = self._claim.job.signature

        if isinstance(self._reader, ArrayReader) and self._calls.arrays is not None:
            columns = self._reader.columns(rows)
            return await self._calls.arrays.call(self._request, signature, columns)

        request = JobRequest(
            path=self._request.path,
            # A chunk isn't asked for again, and would push out what is.
            headers={
                "content-type": "application/json",
                "cache-control": "no-store",
                **self._request.trace,
            },
            body=predict_body(self._reader, rows, signature),
        )
        return await self._calls.json(request, self._claim.job.id)

    async def _advance(self) -> bool:
        """Tell how far the run is, not too often; return whether the claim holds."""
        now = anyio.current_time()

        if now - self._advanced < ADVANCE_SECONDS:
            return True

        self._advanced = now
        return await self._store.advance(self._claim, self._done)


@dataclass(slots=True, kw_only=True, eq=False)
class _Chunk:
    """Rows that are answered, the first of them row `number`, and how that ended."""

    rows: Sequence[bytes]
    number: int
    lines: bytes = b""
    error: Exception | None = None
    ended: anyio.Event = field(default_factory=anyio.Event)


def _failure(status: int, text: str) -> JobResult:
    return JobResult(
        status=status,
        headers={"content-type": "application/json"},
        body=orjson.dumps({"error": text}),
    )
