"""The context of a view: the request, and the parts of the application.

Flask's proxies cost a microsecond an access, so a view resolves each once, by the
proxy's own resolver: two function calls instead of four.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from anyio import CapacityLimiter
from flask import current_app, g, request

from service.openapi.cache import DocumentCache
from service.telemetry.requests import RequestCounters
from service.web.inflation import InflationLimits

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask, Request
    from flask.ctx import _AppCtxGlobals

    from inference import Engine
    from service.auth.keys import ApiKeys
    from service.auth.token import AdminToken
    from service.caching.cache import ResponseCache
    from service.decoding.pool import DecoderPool
    from service.jobs.jobs import Jobs
    from service.payloads.log import PayloadLog
    from service.settings.groups import ReadyWhen
    from service.telemetry.sharing import FigureFolder
    from service.web.body_budget import BodyBudget

SERVING = "serving"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """The parts that views serve requests with.

    Without `decoders` bodies are decoded on the event loop; without `admin_token`
    there are no admin calls; without `jobs` predictions aren't asynchronous; without
    `cache` no answer is given again; without `figure_folder` metrics are those of this
    process alone; without `keys` nobody needs an API key; without `payload_log` no
    prediction is written down.
    """

    engine: Engine
    decoders: DecoderPool | None
    body_budget: BodyBudget
    admin_token: AdminToken | None
    jobs: Jobs | None = None
    cache: ResponseCache | None = None
    keys: ApiKeys | None = None
    payload_log: PayloadLog | None = None
    ready_when: ReadyWhen = "any"
    max_answer_bytes: float = math.inf
    inflation: InflationLimits = InflationLimits(max_bytes=1 << 26, max_ratio=100)
    requests: RequestCounters = field(default_factory=RequestCounters)
    figure_folder: FigureFolder | None = None
    # Thousands of figures take long to write, and can wait: one writer at a time.
    metrics_limiter: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))
    # Rows of large work are checked beside the loop, which a piece would hold for 1 ms.
    # So are long compressed bodies inflated.
    rows_limiter: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(2))
    documents: DocumentCache = field(default_factory=DocumentCache)


def resolver(proxy: T) -> Callable[[], T]:
    """Return the function that resolves a Flask proxy."""
    found: Callable[[], T] = proxy._get_current_object  # type: ignore[attr-defined]
    return found


current_application: Callable[[], Flask] = resolver(current_app)
current_globals: Callable[[], _AppCtxGlobals] = resolver(g)
current_request: Callable[[], Request] = resolver(request)


def current_serving() -> Serving:
    serving: Serving = current_application().extensions[SERVING]
    return serving


def current_engine() -> Engine:
    return current_serving().engine
