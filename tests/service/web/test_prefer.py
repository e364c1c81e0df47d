"""`Prefer: wait=…`, as in RFC 7240 and as clients write it."""

from __future__ import annotations

import flask
import pytest
from werkzeug.exceptions import BadRequest

from service.web.prefer import wait_seconds


def waits(header: str | None) -> float | None:
    headers = {} if header is None else {"Prefer": header}

    with flask.Flask(__name__).test_request_context(headers=headers):
        return wait_seconds(flask.request)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        pytest.param(None, None, id="no header"),
        pytest.param("", None, id="empty"),
        pytest.param("respond-async", None, id="another preference"),
        pytest.param("wait=10", 10, id="whole seconds"),
        pytest.param("wait=0.25", 0.25, id="parts of a second"),
        pytest.param('wait="10"', 10, id="quoted"),
        pytest.param("Wait = 10", 10, id="case and blanks"),
        pytest.param("respond-async, wait=10", 10, id="after another"),
        pytest.param("respond-async; a=b, wait=10; c=d", 10, id="parameters"),
        pytest.param("wait=10, wait=20", 10, id="twice"),
        pytest.param("waiting=10", None, id="longer name"),
    ],
)
def test_wait(header: str | None, seconds: float | None) -> None:
    assert waits(header) == seconds


@pytest.mark.parametrize("text", ["", "soon", "0", "-1", "nan", "inf", "1e999", "10s"])
def test_invalid_times_are_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="no number of seconds above zero"):
        waits(f"wait={text}")
