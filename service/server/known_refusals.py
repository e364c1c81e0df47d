"""Requests that are to be refused as one before them was, for a tenth of its price."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from inference import InferenceError, Overloaded

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Request

    from inference import Engine, ModelSpec

NOTE = "tandem.note_refusal"
"""In an ASGI scope and its WSGI environ: who wants to hear of a busy model."""

MAX_TARGETS = 1024
MAX_TARGET = 512


class KnownRefusals:
    """By a request's method and target: how to ask whether its model is still too busy.

    Under overload nearly all requests are for targets that were just refused; asking
    costs 3 µs, and Flask's way to the same answer several hundred. Learned from the
    application, so it holds whatever URLs that has. For one event loop.
    """

    def __init__(self) -> None:
        self._asked: dict[bytes, Callable[[], None]] = {}

    def note(self, target: bytes, ask: Callable[[], None]) -> None:
        """`ask` raised `Overloaded` for this target."""
        if len(target) > MAX_TARGET:
            return

        if len(self._asked) >= MAX_TARGETS:
            self._asked.clear()

        self._asked[target] = ask

    def refusal(self, target: bytes) -> Overloaded | None:
        """What the application would refuse the request with now, if it is known to."""
        ask = self._asked.get(target)
        if ask is None:
            return None

        try:
            ask()
        except Overloaded as exc:
            return exc
        except InferenceError:
            del self._asked[target]

        return None


def admit(request: Request, engine: Engine, spec: ModelSpec) -> None:
    """Raises what `engine.admit` raises; a refusal is told to whoever wants to know."""
    try:
        engine.admit(spec)
    except Overloaded:
        note = request.environ.get(NOTE)
        if note is not None:
            note(partial(engine.admit, spec))

        raise
