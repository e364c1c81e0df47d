"""All rows of a source through a model, several chunks at a time, in order."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from inference import DeadlineExceeded, ExecutionFailed, InvalidRequest
from service.jobs.chunk_size import ChunkSize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from inference import Batching, Output, Signature
    from service.bulk.sinks import Sink
    from service.bulk.sources import Rows, Source

MOST_FAILED = 100
ROW_FAULTS = (InvalidRequest, ExecutionFailed, DeadlineExceeded)
"""Errors of a chunk that one of its rows may be the reason of."""

AHEAD = 2
"""Chunks that wait, read or answered, beside those that run."""


class Model(Protocol):
    """A model in this process, as `inference.OfflineModel` is one."""

    concurrency: int

    def batching(self, signature: Signature) -> Batching: ...

    def run(
        self, signature: Signature, inputs: Mapping[str, Any]
    ) -> Mapping[str, Output]: ...


class TooManyFailed(Exception):
    """More rows failed than can be meant."""


@dataclass(slots=True, kw_only=True)
class Progress:
    """Rows that are written, and those of them that failed, by number from 1."""

    rows: int = 0
    failed: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkRun:
    """A run: `progress` tells where it begins, and is kept up to date.

    A chunk that fails is halved until the row is found whose fault it is. `written` is
    called after each chunk.
    """

    model: Model
    signature: Signature
    source: Source
    sink: Sink
    progress: Progress
    written: Callable[[], object]

    def run(self) -> None:
        """Raise `BadRows`, `TooManyFailed`, and `InferenceError` that no row caused."""
        size = ChunkSize(self.signature, self.model.batching(self.signature))
        waiting: deque[Future[list[_Answer]]] = deque()

        with ThreadPoolExecutor(self.model.concurrency) as pool:
            try:
                for rows in self.source.chunks(self.progress.rows, size.rows):
                    waiting.append(pool.submit(self._answered, rows, size))

                    if len(waiting) >= self.model.concurrency + AHEAD:
                        self._write(waiting.popleft().result())

                while waiting:
                    self._write(waiting.popleft().result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

        self.sink.end()

    def _answered(self, rows: Rows, size: ChunkSize) -> list[_Answer]:
        started = time.perf_counter()
        answers = list(self._answers(rows))
        size.note(len(rows), time.perf_counter() - started)
        return answers

    def _answers(self, rows: Rows) -> Iterator[_Answer]:
        try:
            outputs = self.model.run(self.signature, self.source.inputs(rows))
        except ROW_FAULTS as exc:
            if len(rows) == 1:
                yield _Answer(rows=1, error=str(exc))
                return
        else:
            encoded = self.sink.encoded(outputs, len(rows))
            yield _Answer(rows=len(rows), encoded=encoded)
            return

        half = len(rows) // 2
        yield from self._answers(rows[:half])
        yield from self._answers(rows[half:])

    def _write(self, answers: Sequence[_Answer]) -> None:
        progress = self.progress

        for answer in answers:
            if answer.error is None:
                self.sink.write(answer.encoded)
            else:
                self._fail(progress.rows + 1, answer.error)

            progress.rows += answer.rows

        self.written()

    def _fail(self, number: int, text: str) -> None:
        if len(self.progress.failed) >= MOST_FAILED:
            raise TooManyFailed(
                f"More than {MOST_FAILED} rows failed. Row {number}: {text}"
            )

        self.progress.failed[number] = text
        self.sink.fail(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """Encoded answers to some rows, or the error of one."""

    rows: int
    encoded: Any = None
    error: str | None = None
