"""What a client prefers, by the header `Prefer` (RFC 7240)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from werkzeug.exceptions import BadRequest
from werkzeug.http import parse_list_header

if TYPE_CHECKING:
    from flask import Request

WAIT = "wait"


def wait_seconds(request: Request) -> float | None:
    """How long the client of `request` will wait; `None` where it doesn't say.

    RFC 7240 has whole seconds; parts of them are taken too. Raises `BadRequest` for
    what isn't a number above zero. Other preferences may be ignored, and are.
    """
    header = request.environ.get("HTTP_PREFER")

    if header is None:
        return None

    for preference in parse_list_header(header):
        name, _, value = preference.partition(";")[0].partition("=")

        # The first of two equal ones counts; names are the same in either case.
        if name.strip().lower() == WAIT:
            return _seconds(value.strip().strip('"'))

    return None


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
