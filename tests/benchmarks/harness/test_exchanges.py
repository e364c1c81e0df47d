from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.harness.exchanges import Exchange, predictions, rounded

if TYPE_CHECKING:
    from benchmarks.harness.exchanges import Form

ROWS = rounded(np.array([[0.1234567, 2], [3, 4], [5, 6], [7, 8]], np.float32))
ANSWERS = np.array([[1.0], [2.0], [3.0], [4.0]], np.float32)
BODIES: list[tuple[Form, object]] = [
    ("instances", {"predictions": [[3.0], [4.0]]}),
    ("tensor", {"outputs": [{"data": [3.0, 4.0]}]}),
    ("bare", [[3.0], [4.0]]),
]


@pytest.mark.parametrize(("form", "document"), BODIES)
def test_an_answer_is_right_in_its_form(form: Form, document: object) -> None:
    _, second = predictions(ROWS, ANSWERS, "/p", size=2, form=form)
    assert second.right(json.dumps(document).encode())


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"predictions": [[3.0], [4.1]]}', id="value"),
        pytest.param(b'{"predictions": [[3.0]]}', id="rows"),
        pytest.param(b'{"predictions": [["a"], [4.0]]}', id="type"),
        pytest.param(b'{"error": "no"}', id="document"),
        pytest.param(b"no", id="not-json"),
    ],
)
def test_anything_else_is_wrong(body: bytes) -> None:
    _, second = predictions(ROWS, ANSWERS, "/p", size=2)
    assert not second.right(body)


def test_a_body_has_the_rounded_numbers() -> None:
    first = predictions(ROWS, ANSWERS, "/p")[0]
    head, _, body = first.request.partition(b"\r\n\r\n")

    assert body == b'{"instances":[[0.123457,2.0]]}'
    assert b"Content-Length: %d" % len(body) in head
    assert np.array_equal(np.float32(json.loads(body)["instances"]), ROWS[:1])


def test_rows_that_fill_no_request_are_left_out() -> None:
    [made] = predictions(ROWS, ANSWERS, "/p", size=3, form="tensor")
    assert json.loads(made.body)["inputs"][0]["shape"] == [3, 2]


@pytest.mark.parametrize(
    ("tolerance", "right"),
    [pytest.param(1e-3, True, id="within"), pytest.param(1e-5, False, id="beyond")],
)
def test_an_answer_may_differ_by_the_tolerance(tolerance: float, right: bool) -> None:
    first = predictions(ROWS, ANSWERS, "/p", tolerance=tolerance)[0]
    assert first.right(b'{"predictions": [[1.0005]]}') is right


def test_a_request_has_its_headers_and_length() -> None:
    made = Exchange(
        name="predict",
        path="/v1",
        body=b"[1]",
        headers="Prefer: wait=1\r\n",
        right=bool,
    )
    head, _, body = made.request.partition(b"\r\n\r\n")

    assert head.startswith(b"POST /v1 HTTP/1.1\r\nHost: ")
    assert b"\r\nContent-Length: 3" in head
    assert b"\r\nPrefer: wait=1" in head
    assert body == b"[1]"


def test_a_get_has_no_body() -> None:
    made = Exchange(name="GET", method="GET", path="/livez", right=bool)
    assert made.request == b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
