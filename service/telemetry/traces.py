"""The trace that a client's request belongs to, by W3C's Trace Context."""

from __future__ import annotations

import re

# Later versions may have more at the end; ff is none.
_PARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?",
    re.ASCII,
)
_SAMPLED = 1
# What every vendor must pass on, by the standard.
_MAX_STATE_CHARS = 512


def trace_of(traceparent: str) -> str | None:
    """Return a trace's id, recorded or not; `None` if the header isn't valid."""
    found = _PARENT.fullmatch(traceparent)
    return None if found is None else found[1]


def sampled_trace(traceparent: str) -> str | None:
    """Return the id of a trace that is recorded; `None` if it isn't, or not valid."""
    found = _PARENT.fullmatch(traceparent)
    if found is None or not int(found[2], 16) & _SAMPLED:
        return None

    return found[1]


def trace_context(traceparent: str, tracestate: str) -> dict[str, str]:
    """Return the headers that tell a later request of this trace, if there is one."""
    if trace_of(traceparent) is None:
        return {}

    kept = 0 < len(tracestate) <= _MAX_STATE_CHARS and tracestate.isascii()
    state = {"tracestate": tracestate} if kept else {}
    return {"traceparent": traceparent, **state}
