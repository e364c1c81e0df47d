"""Runs large work: reads its rows, calls the model in chunks, keeps what it answers.

Memory holds a chunk and its answer, whatever the size of the work.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import orjson
import structlog

from service.jobs.answers import TRY_LATER, error_of, pause_of
from service.jobs.job import JobRequest, JobResult
from service.jobs.rows import (
    NDJSON,
    BadRows,
    chunk_length,
    error_line,
    predict_body,
    result_lines,
    row_reader,
)
from service.jobs.store import JobError, JobsFull, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

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
    """Sizes of large work's pieces: `rows` a chunk, at most `row_bytes` a row."""

    rows: int = 64
    row_bytes: int = 64 * 1024 * 1024


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
        call: Call,
        busy: Callable[[], Sequence[str]],
        claim: Claim,
        request: JobRequest,
        chunks: Chunks,
    ) -> None:
        self._store = store
        self._call = call
        self._busy = busy
        self._claim = claim
        self._request = request
        self._chunks = chunks
        self._reader: RowReader = row_reader(
            request.headers["content-type"], chunks.row_bytes
        )
        self._done = 0
        self._failed = 0
        self._advanced = 0.0

    async def run(self) -> JobResult | None:
        """Return the result, its body kept; `None` if the claim is lost."""
        try:
            return await self._run()
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

    async def _run(self) -> JobResult | None:
        kept = 0

        async with aclosing(self._read()) as chunks:
            async for rows in chunks:
                await self._give_way()
                lines = await self._answer(rows, self._done + 1)
                await self._store.keep_result(self._claim, kept, lines)
                kept += len(lines)
                self._done += len(rows)

                if not await self._advance():
                    return None

        headers = {"content-type": NDJSON, FAILED_ROWS: str(self._failed)}
        return JobResult(status=200, headers=headers, body=b"", kept_bytes=kept)

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
        return chunk_length(rows, self._chunks.rows, CHUNK_BYTES)

    async def _give_way(self) -> None:
        for _ in range(GIVE_WAY_TIMES):
            if self._claim.job.model not in self._busy():
                return

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
        request = JobRequest(
            path=self._request.path,
            headers={"content-type": "application/json"},
            body=predict_body(self._reader, rows, self._claim.job.signature),
        )

        for _ in range(MOST_TRIES):
            result = await self._call(request, self._claim.job.id)

            if result.status not in TRY_LATER:
                return result

            await anyio.sleep(pause_of(result))

        raise CallEnded(result)

    async def _advance(self) -> bool:
        """Tell how far the run is, not too often; return whether the claim holds."""
        now = anyio.current_time()

        if now - self._advanced < ADVANCE_SECONDS:
            return True

        self._advanced = now
        return await self._store.advance(self._claim, self._done)


def _failure(status: int, text: str) -> JobResult:
    return JobResult(
        status=status,
        headers={"content-type": "application/json"},
        body=orjson.dumps({"error": text}),
    )
