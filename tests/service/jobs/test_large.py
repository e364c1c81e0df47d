"""Chunks of large work: two with the model, one beside synchronous calls."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
import pytest
from anyio.lowlevel import checkpoint

from service.jobs.job import JobRequest, JobResult
from service.jobs.large import Calls, Chunks, LargeRun
from service.jobs.rows import NDJSON, NPY
from service.jobs.sqlite import SqliteStore
from tests.service.jobs.test_store import submission

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ROWS = 10


class Arrays:
    """Answers rows as they are; `most` calls were open at a time."""

    def __init__(self, *, shared: bool) -> None:
        self.most = self._open = 0
        self._shared = shared

    async def call(
        self, request: JobRequest, signature: str | None, columns: Mapping[str, Any]
    ) -> JobResult:
        self._open += 1
        self.most = max(self.most, self._open)

        # The later one ends first, if there are two.
        for _ in range(20 if self._open == 1 else 1):
            await checkpoint()

        self._open -= 1
        (rows,) = columns.values()
        body = json.dumps({"predictions": rows.tolist()}).encode()
        return JobResult(status=200, headers={}, body=body)

    def chunk_size(self, *_: Any, **__: Any) -> None:
        return None

    def shared(self) -> bool:
        return self._shared


async def unused(request: JobRequest, id: str) -> JobResult:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("shared", "most"),
    [
        pytest.param(False, 2, id="alone"),
        pytest.param(True, 1, id="beside synchronous calls"),
    ],
)
async def test_chunks_with_the_model(tmp_path: Path, shared: bool, most: int) -> None:
    arrays = Arrays(shared=shared)
    file = io.BytesIO()
    np.save(file, np.arange(ROWS))
    body = file.getvalue()
    made = submission(b"")
    request = replace(made.request, headers={"content-type": NPY}, kept_bytes=len(body))

    async with SqliteStore(tmp_path) as store:
        await store.keep_body(made.id, 0, body)
        await store.submit(replace(made, request=request, total=ROWS))
        claim = await store.claim("me", lease_seconds=60)
        assert claim is not None
        calls = Calls(json=unused, busy=list, arrays=arrays)

        with anyio.fail_after(60):
            run = LargeRun(store, calls, claim, request, Chunks(rows=1))
            result = await run.run()

        assert result is not None
        assert await store.complete(claim, result)
        kept = await store.result_piece(made.id, 0, 1000)

    assert kept == b"".join(b"%d\n" % row for row in range(ROWS))
    assert arrays.most == most


async def test_chunks_belong_to_the_trace_of_the_work(tmp_path: Path) -> None:
    made = submission(b"")
    trace = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "v=1"}
    headers = {"content-type": NDJSON, **trace}
    request = replace(made.request, headers=headers, kept_bytes=4)
    seen = []

    async def answer(request: JobRequest, id: str) -> JobResult:
        seen.append(request.trace)
        return JobResult(status=200, headers={}, body=b'{"predictions": [1]}')

    async with SqliteStore(tmp_path) as store:
        await store.keep_body(made.id, 0, b"1\n2\n")
        await store.submit(replace(made, request=request, total=2))
        claim = await store.claim("me", lease_seconds=60)
        assert claim is not None
        kept = await store.request(made.id)
        calls = Calls(json=answer, busy=list)
        run = LargeRun(store, calls, claim, kept, Chunks(rows=1))
        assert await run.run() is not None

    assert seen == [trace, trace]
