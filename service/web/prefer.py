"""The request header `Prefer` (RFC 7240)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from werkzeug.exceptions import BadRequest
from werkzeug.http import parse_list_header

if TYPE_CHECKING:
    from flask import Request

WAIT = "wait"
RESPOND_ASYNC = "respond-async"


def wait_seconds(request: Request) -> float | None:
    """Return the seconds that the client will wait, or `None` if it doesn't say.

    Fractions are accepted, beyond RFC 7240. Raise `BadRequest` unless it is a number
    above zero. Other preferences are ignored, as the RFC allows.
    """
    value = _preferences(request).get(WAIT)
    return None if value is None else _seconds(value)


def responds_async(request: Request) -> bool:
    """Return whether the client prefers an answer at once, and the result later."""
    return RESPOND_ASYNC in _preferences(request)


def says_how_to_answer(request: Request) -> bool:
    """Return whether the client says if and how long it waits for its answer."""
    return not {WAIT, RESPOND_ASYNC}.isdisjoint(_preferences(request))


def _preferences(request: Request) -> dict[str, str]:
    header = request.environ.get("HTTP_PREFER")
    found: dict[str, str] = {}

    if header is None:
        return found

    for preference in parse_list_header(header):
        name, _, value = preference.partition(";")[0].partition("=")
        # The first of several counts; names are case-insensitive.
        found.setdefault(name.strip().lower(), value.strip().strip('"'))

    return found


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan

    if math.isfinite(seconds) and seconds > 0:
        return seconds

    raise BadRequest(
        f"the header 'Prefer: wait={text[:40]}' has no number of seconds above zero:"
        " send for example 'Prefer: wait=2.5'"
    )
