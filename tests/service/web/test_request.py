from __future__ import annotations

import io

import pytest
from flask import Flask, Request
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.routing import Rule

from service.bridge.environ import build_environ
from service.web.request import BoundedRequest, BoundedStream
from tests.support.servers import http_scope

LIMIT = 100_000


def read_all(stream: BoundedStream) -> bytes:
    return stream.read()


def read_pieces(stream: BoundedStream) -> bytes:
    return b"".join(iter(lambda: stream.read(777), b""))


@pytest.mark.parametrize("read", [read_all, read_pieces])
@pytest.mark.parametrize("size", [0, 1, LIMIT - 1, LIMIT])
def test_within_the_limit(read: object, size: int) -> None:
    assert callable(read)
    assert read(BoundedStream(io.BytesIO(b"x" * size), LIMIT)) == b"x" * size


@pytest.mark.parametrize("read", [read_all, read_pieces])
@pytest.mark.parametrize("limit", [0, LIMIT])
def test_one_byte_more(read: object, limit: int) -> None:
    assert callable(read)
    with pytest.raises(RequestEntityTooLarge):
        read(BoundedStream(io.BytesIO(b"x" * (limit + 1)), limit))


def request_of(body: io.BytesIO, length: bytes) -> BoundedRequest:
    scope = http_scope(method="POST", headers=[(b"content-length", length)])
    request = BoundedRequest(build_environ(scope, body))
    request.max_content_length = LIMIT
    return request


def test_length_announced_too_large() -> None:
    body = io.BytesIO(b"xyz")
    with pytest.raises(RequestEntityTooLarge):
        request_of(body, b"%d" % (LIMIT + 1)).get_data()

    assert body.tell() == 0


def test_length_within_the_limit() -> None:
    assert request_of(io.BytesIO(b"xyz"), b"3").get_data() == b"xyz"


def test_without_a_server_that_ends_the_input() -> None:
    request = request_of(io.BytesIO(b"xyz and the next request"), b"3")
    del request.environ["wsgi.input_terminated"]
    assert request.get_data() == b"xyz"


@pytest.mark.parametrize("coding", [None, "chunked", "gzip", ""])
@pytest.mark.parametrize(
    "length",
    [None, "", "0", "17", "+17", "-17", " 17", "1_7", "١٧", "²", "x", "9" * 30],
)
def test_content_length_equals_flasks(length: str | None, coding: str | None) -> None:
    environ = build_environ(http_scope(), io.BytesIO())
    if length is not None:
        environ["CONTENT_LENGTH"] = length

    if coding is not None:
        environ["HTTP_TRANSFER_ENCODING"] = coding

    ours = BoundedRequest(environ.copy()).content_length
    assert ours == Request(environ).content_length


def test_a_truncated_body_is_a_disconnect() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise ClientDisconnected

        read1 = read

    with pytest.raises(ClientDisconnected):
        BoundedStream(Broken(), LIMIT).read()


def test_reading_into_a_buffer() -> None:
    stream = BoundedStream(io.BytesIO(b"abcdef"), 6)
    buffer = bytearray(4)
    assert [stream.readinto(buffer), stream.tell(), bytes(buffer)] == [4, 4, b"abcd"]
    assert [stream.readinto(buffer), stream.tell(), buffer[:2]] == [2, 6, b"ef"]
    assert stream.is_exhausted


def test_lines() -> None:
    stream = BoundedStream(io.BytesIO(b"one\ntwo"), 7)
    assert list(stream) == [b"one\n", b"two"]


@pytest.mark.parametrize("endpoint", ["view", "a.view", "a.b.view", "a.b.c.view"])
def test_blueprints_equal_flasks(endpoint: str) -> None:
    environ = build_environ(http_scope(), io.BytesIO())
    ours, plain = BoundedRequest(environ), Request(environ)
    assert ours.blueprints == plain.blueprints == []
    ours.url_rule = plain.url_rule = Rule("/", endpoint=endpoint)
    assert ours.blueprints == plain.blueprints
    assert ours.blueprint == plain.blueprint


def test_limit_of_the_request_or_the_application() -> None:
    request = BoundedRequest(build_environ(http_scope(), io.BytesIO()))
    assert request.max_content_length is None
    application = Flask("limits")
    application.config["MAX_CONTENT_LENGTH"] = 5
    with application.app_context():
        assert request.max_content_length == 5
        request.max_content_length = 7
        assert request.max_content_length == 7
