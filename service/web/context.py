"""What a view works with: the request, and what the application keeps for it.

Flask's proxies cost a microsecond a look, so a view looks once, and by what a proxy
itself looks with: two function calls, not four.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from anyio import CapacityLimiter
from flask import current_app, g, request

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask, Request
    from flask.ctx import _AppCtxGlobals

    from inference import Engine
    from service.auth.token import AdminToken
    from service.decoding.pool import DecoderPool
    from service.web.body_budget import BodyBudget

SERVING = "serving"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What the application serves with.

    `decoders` is `None` for on the event loop, `admin_token` for no admin calls.
    """

    engine: Engine
    decoders: DecoderPool | None
    body_budget: BodyBudget
    admin_token: AdminToken | None
    # Thousands of figures take long to write, and none is in a hurry: one at a time.
    metrics_limiter: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))


def resolver(proxy: T) -> Callable[[], T]:
    """What gives what one of Flask's proxies stands for when it is called."""
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
