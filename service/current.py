"""What a view works with: the request, and what the application keeps for it.

Flask's proxies cost a microsecond a look, so a view looks once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

from flask import current_app, request

if TYPE_CHECKING:
    from flask import Request

    from service.body_budget import BodyBudget
    from service.decoders import Decoders
    from service.engine import Engine

SERVING = "serving"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What the application serves with; `decoders` is `None` for on the event loop."""

    engine: Engine
    decoders: Decoders | None
    body_budget: BodyBudget


def behind(proxy: T) -> T:
    """What one of Flask's proxies stands for now."""
    found: T = proxy._get_current_object()  # type: ignore[attr-defined]
    return found


def current_serving() -> Serving:
    return cast("Serving", current_app.extensions[SERVING])


def current_engine() -> Engine:
    return current_serving().engine


def current_request() -> Request:
    return behind(request)
