"""The meaning of a call's answer for its job."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.jobs.job import JobResult

TRY_LATER = {429, 503}
"""Statuses of a call that says nothing of the job: it is made again."""

_LONGEST_PAUSE = 30.0


def error_of(result: JobResult) -> str | None:
    """Return why a call failed, if it did."""
    if result.status < 400:
        return None

    try:
        return str(json.loads(result.body)["error"])
    except (ValueError, KeyError, TypeError):
        return f"The call was answered with status {result.status}."


def pause_of(result: JobResult) -> float:
    """Return the seconds after which to make a call again."""
    told = result.headers.get("retry-after", "")
    return min(float(told), _LONGEST_PAUSE) if told.isdecimal() else 1.0
