from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from service.bridge.environ import (
    DUPLICATE_HEADER_LIMIT,
    ResponseHead,
    TooManyHeaders,
    build_environ,
)
from tests.support.servers import http_scope


def environ_of(**scope: Any) -> dict[str, Any]:
    return build_environ(http_scope(**scope), io.BytesIO())


def test_basics() -> None:
    environ = environ_of(
        method="POST", path="/a/b", query_string=b"x=1", server=("host", 81)
    )
    expected = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a/b",
        "QUERY_STRING": "x=1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "host",
        "SERVER_PORT": "81",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
        "wsgi.version": (1, 0),
        "wsgi.input_terminated": True,
        "wsgi.multithread": True,
    }
    assert expected.items() <= environ.items()


@pytest.mark.parametrize(
    ("path", "root_path", "expected"),
    [
        pytest.param("/a", "", ("", "/a"), id="no-root"),
        pytest.param("/api/a", "/api", ("/api", "/a"), id="root"),
        pytest.param("/api", "/api", ("/api", ""), id="root-itself"),
        pytest.param("/apix", "/api", ("/api", "/apix"), id="only-a-prefix"),
        pytest.param("/é", "", ("", "/\xc3\xa9"), id="utf-8-as-latin-1"),
        pytest.param("/\ud800", "", ("", "/?"), id="lone-surrogate"),
    ],
)
def test_paths(path: str, root_path: str, expected: tuple[str, str]) -> None:
    environ = environ_of(path=path, root_path=root_path)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param(
            [(b"content-type", b"text/plain"), (b"content-length", b"3")],
            {"CONTENT_TYPE": "text/plain", "CONTENT_LENGTH": "3"},
            id="content",
        ),
        pytest.param(
            [(b"x-a", b"1"), (b"x-a", b"2")], {"HTTP_X_A": "1,2"}, id="repeated"
        ),
        pytest.param(
            [(b"cookie", b"a=1"), (b"cookie", b"b=2")],
            {"HTTP_COOKIE": "a=1; b=2"},
            id="cookies",
        ),
        pytest.param([(b"x-a", b"\xe9\xff")], {"HTTP_X_A": "éÿ"}, id="latin-1"),
        pytest.param(
            [(b"x-admin", b"no"), (b"x_admin", b"yes")],
            {"HTTP_X_ADMIN": "no"},
            id="underscore",
        ),
        pytest.param(
            [(b"content_length", b"9")], {}, id="content-length-by-underscore"
        ),
    ],
)
def test_headers(headers: list[tuple[bytes, bytes]], expected: dict[str, str]) -> None:
    environ = environ_of(headers=headers)
    names = ("HTTP_", "CONTENT_")
    assert {k: v for k, v in environ.items() if k.startswith(names)} == expected


def test_repetition_is_limited() -> None:
    environ_of(headers=[(b"x", b"")] * DUPLICATE_HEADER_LIMIT)
    with pytest.raises(TooManyHeaders):
        environ_of(headers=[(b"x", b"")] * (DUPLICATE_HEADER_LIMIT + 1))


@pytest.mark.parametrize("server", [None, ("/run/socket", None)])
def test_server_without_port(server: Any) -> None:
    environ = environ_of(server=server, client=None)
    assert environ["SERVER_PORT"] == ("80" if server is None else "0")
    assert "REMOTE_ADDR" not in environ


def test_head_message() -> None:
    head = ResponseHead()
    head("201 Created", [("X-Name", "ünï"), ("Set-Cookie", "a"), ("Set-Cookie", "b")])
    assert head.message() == {
        "type": "http.response.start",
        "status": 201,
        "headers": [
            (b"x-name", "ünï".encode("latin-1")),
            (b"set-cookie", b"a"),
            (b"set-cookie", b"b"),
        ],
    }


def test_head_twice() -> None:
    head = ResponseHead()
    head("200 OK", [])
    with pytest.raises(RuntimeError, match="twice"):
        head("200 OK", [])


def test_head_replaced_by_an_error() -> None:
    head = ResponseHead()
    head("200 OK", [])
    try:
        raise KeyError("late")
    except KeyError:
        head("503 Sorry", [], sys.exc_info())

    assert head.message()["status"] == 503


def test_head_already_sent() -> None:
    head = ResponseHead()
    head("200 OK", [])
    head.sent = True
    try:
        raise KeyError("late")
    except KeyError:
        with pytest.raises(KeyError, match="late"):
            head("500 Sorry", [], sys.exc_info())


def test_write_is_refused() -> None:
    write = ResponseHead()("200 OK", [])
    with pytest.raises(RuntimeError, match="yield the body instead"):
        write(b"data")


def test_head_never_started() -> None:
    with pytest.raises(RuntimeError, match="never called start_response"):
        ResponseHead().message()
