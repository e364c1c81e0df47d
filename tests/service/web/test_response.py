"""Our responses have the headers that Werkzeug would give them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from flask import Response
from werkzeug.test import create_environ

from service.web.response import BODIED, PLAIN, DirectResponse

if TYPE_CHECKING:
    from collections.abc import Callable

JSON = "application/json"


def located(response: Response) -> None:
    response.headers["location"] = "/é"


def without_length(response: Response) -> None:
    del response.headers["Content-Length"]


def with_cookie(response: Response) -> None:
    response.set_cookie("name", "value")


def with_content_location(response: Response) -> None:
    response.headers["Content-Location"] = "/é"


def with_plain_headers(response: Response) -> None:
    for name in PLAIN:
        response.headers[name] = "é"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("status", sorted({*BODIED, 101, 204, 206, 301, 304, 418}))
@pytest.mark.parametrize("body", [b"body", "é", b"", [b"a", b"b"]], ids=repr)
@pytest.mark.parametrize(
    "change",
    [
        located,
        without_length,
        with_cookie,
        with_content_location,
        with_plain_headers,
        lambda response: None,
    ],
)
def test_status_and_headers(
    method: str, status: int, body: Any, change: Callable[[Response], None]
) -> None:
    answers = []
    for cls in (Response, DirectResponse):
        response = cls(body, status, content_type=JSON)
        if "Content-Length" in response.headers or change is not without_length:
            change(response)

        environ = create_environ("/a", method=method)
        _, text, headers = response.get_wsgi_response(environ)
        answers.append((text, sorted(headers)))

    assert answers[0] == answers[1]


def test_headers_are_not_shared_with_the_server() -> None:
    response = DirectResponse(b"body", content_type=JSON)
    _, _, headers = response.get_wsgi_response(create_environ())
    headers.append(("X-More", "1"))
    assert "X-More" not in response.headers
