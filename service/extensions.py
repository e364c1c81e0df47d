"""What the views work with, kept by the application that serves them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import current_app

if TYPE_CHECKING:
    from service.body_budget import BodyBudget
    from service.decoders import Decoders
    from service.engine import Engine

ENGINE = "engine"
DECODERS = "decoders"
BODY_BUDGET = "body_budget"


def current_engine() -> Engine:
    """The engine of the application that serves the current request."""
    return cast("Engine", current_app.extensions[ENGINE])


def current_decoders() -> Decoders | None:
    """Where its large bodies are decoded; `None` for on the event loop."""
    return cast("Decoders | None", current_app.extensions[DECODERS])


def current_body_budget() -> BodyBudget:
    """What its bodies may take."""
    return cast("BodyBudget", current_app.extensions[BODY_BUDGET])
