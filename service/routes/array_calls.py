"""The calls of large work whose rows are an array: straight to the engine.

As JSON, each row would be written and read once more.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import structlog

from inference import InferenceError, InsufficientMemory, ModelNotFound, ModelSpec
from service.codecs.tfserving.urls import not_found
from service.jobs.chunk_size import ChunkSize
from service.jobs.job import JobResult
from service.prediction import predict_arrays
from service.web.context import SERVING
from service.web.errors import status_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Flask

    from inference import Array, Engine
    from service.jobs.job import JobRequest
    from service.web.context import Serving

JSON = {"content-type": "application/json"}

QUIET_SECONDS = 1.0
"""After the last synchronous call, large work takes the whole machine."""

log = structlog.get_logger("tandem.jobs")


class ArrayCalls:
    """Calls of an application's models, as `service.jobs.large` makes them."""

    def __init__(self, app: Flask, engine: Engine) -> None:
        self._urls = app.url_map.bind("")
        self._engine = engine
        serving: Serving = app.extensions[SERVING]
        self._max_bytes = serving.max_answer_bytes

    async def call(
        self, request: JobRequest, signature: str | None, columns: Mapping[str, Array]
    ) -> JobResult:
        """Return the answer to a POST of the rows as JSON to the request's path."""
        spec = self._model(request)

        try:
            body = await predict_arrays(
                self._engine, spec, signature, columns, max_bytes=self._max_bytes
            )
        except ModelNotFound as exc:
            return _refused(not_found(exc, spec))
        except InferenceError as exc:
            return _refused(exc)
        except MemoryError:
            return _refused(InsufficientMemory())
        except Exception:
            log.exception("large work failed", path=request.path)
            return _answer(500, "internal error; the server's log has the details", {})

        return JobResult(status=200, headers=JSON, body=body)

    def chunk_size(
        self, request: JobRequest, signature: str | None, *, grows: bool
    ) -> ChunkSize | None:
        """Return the size to begin with, `None` if it isn't known."""
        try:
            found = self._engine.batching(self._model(request), signature)
        except InferenceError:
            return None

        return None if found is None else ChunkSize(*found, grows=grows)

    def shared(self) -> bool:
        """Return whether synchronous calls came just now."""
        return self._engine.quiet_seconds() < QUIET_SECONDS

    def _model(self, request: JobRequest) -> ModelSpec:
        _, named = self._urls.match(request.path, method="POST")
        return ModelSpec(**named)


def _refused(error: InferenceError) -> JobResult:
    after = error.retry_after
    told = {} if after is None else {"retry-after": str(math.ceil(after))}
    return _answer(status_of(type(error)), str(error), told)


def _answer(status: int, text: str, headers: Mapping[str, str]) -> JobResult:
    body = json.dumps({"error": text}).encode()
    return JobResult(status=status, headers={**JSON, **headers}, body=body)
