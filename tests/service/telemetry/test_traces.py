from __future__ import annotations

import pytest

from service.telemetry.traces import sampled_trace, trace_context, trace_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("header", "trace"),
    [
        pytest.param(f"00-{TRACE}-{SPAN}-01", TRACE, id="sampled"),
        pytest.param(f"00-{TRACE}-{SPAN}-03", TRACE, id="another flag too"),
        pytest.param(f"cc-{TRACE}-{SPAN}-01-more", TRACE, id="later version"),
        pytest.param(f"00-{TRACE}-{SPAN}-00", None, id="not sampled"),
        pytest.param(f"00-{'0' * 32}-{SPAN}-01", None, id="no trace"),
        pytest.param(f"00-{TRACE}-{'0' * 16}-01", None, id="no span"),
        pytest.param(f"ff-{TRACE}-{SPAN}-01", None, id="invalid version"),
        pytest.param(f"00-{TRACE.upper()}-{SPAN}-01", None, id="capitals"),
        pytest.param(f"00-{TRACE}-{SPAN}", None, id="short"),
        pytest.param("", None, id="empty"),
    ],
)
def test_only_recorded_traces_are_found(header: str, trace: str | None) -> None:
    assert sampled_trace(header) == trace


@pytest.mark.parametrize(
    ("parent", "state", "passed_on"),
    [
        pytest.param(f"00-{TRACE}-{SPAN}-00", "", {"traceparent"}, id="parent"),
        pytest.param(
            f"00-{TRACE}-{SPAN}-01", "a=1", {"traceparent", "tracestate"}, id="both"
        ),
        pytest.param(f"00-{TRACE}-{SPAN}-01", "x" * 513, {"traceparent"}, id="long"),
        pytest.param(f"00-{TRACE}-{SPAN}-01", "a=\xe9", {"traceparent"}, id="no ASCII"),
        pytest.param("", "a=1", set(), id="state alone"),
        pytest.param(f"00-{TRACE}-{SPAN}", "a=1", set(), id="not valid"),
    ],
)
def test_trace_context_is_passed_on(
    parent: str, state: str, passed_on: set[str]
) -> None:
    assert trace_context(parent, state).keys() == passed_on


def test_traces_that_are_not_recorded_have_an_id_too() -> None:
    assert trace_of(f"00-{TRACE}-{SPAN}-00") == TRACE
    assert trace_of("00-") is None
