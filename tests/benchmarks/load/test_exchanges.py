from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.load.exchanges import exchanges, rounded

if TYPE_CHECKING:
    from benchmarks.load.exchanges import Form

ROWS = rounded(np.array([[0.1234567, 2], [3, 4], [5, 6], [7, 8]], np.float32))
ANSWERS = np.array([[1.0], [2.0], [3.0], [4.0]], np.float32)
BODIES: list[tuple[Form, object]] = [
    ("instances", {"predictions": [[3.0], [4.0]]}),
    ("tensor", {"outputs": [{"data": [3.0, 4.0]}]}),
    ("bare", [[3.0], [4.0]]),
]


@pytest.mark.parametrize(("form", "document"), BODIES)
def test_an_answer_is_right_in_its_form(form: Form, document: object) -> None:
    _, second = exchanges(ROWS, ANSWERS, size=2, form=form, path="/p")
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
    _, second = exchanges(ROWS, ANSWERS, size=2, form="instances", path="/p")
    assert not second.right(body)


def test_a_body_has_the_numbers_that_were_asked() -> None:
    first = exchanges(ROWS, ANSWERS, size=1, form="instances", path="/p")[0]
    head, _, body = first.request.partition(b"\r\n\r\n")

    assert body == b'{"instances":[[0.123457,2.0]]}'
    assert b"Content-Length: %d" % len(body) in head
    assert np.array_equal(np.float32(json.loads(body)["instances"]), ROWS[:1])


def test_rows_that_fill_no_request_are_left_out() -> None:
    made = exchanges(ROWS, ANSWERS, size=3, form="tensor", path="/p")
    assert [len(each.answer) for each in made] == [3]
