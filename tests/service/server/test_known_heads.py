"""Heads are found by their bytes, where exactly one request has arrived."""

from __future__ import annotations

from typing import Any

import pytest

from service.server import known_heads
from service.server.known_heads import KnownHead, KnownHeads

HEAD = b"POST /a HTTP/1.1\r\nhost: b\r\ncontent-length: 3\r\n\r\n"
BODY = b"abc"


def known(target: bytes = b"/a") -> KnownHead:
    scope: dict[str, Any] = {"headers": [(b"host", b"b")]}
    return KnownHead(target, target.decode(), scope, "what the application knows")


@pytest.fixture
def heads() -> KnownHeads:
    return KnownHeads()


def test_one_whole_request_is_found(heads: KnownHeads) -> None:
    one = known()
    heads.keep(one, HEAD + BODY, 3)

    assert heads.find(HEAD + BODY) == (one, BODY)
    assert heads.find(HEAD + b"xyz") == (one, b"xyz")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(HEAD, id="no body"),
        pytest.param(HEAD[:-1], id="part of the head"),
        pytest.param(HEAD + BODY[:-1], id="part of the body"),
        pytest.param(HEAD + BODY + b"P", id="more than one"),
        pytest.param(b"\r\n" + HEAD + BODY, id="blank line before"),
        pytest.param(HEAD.replace(b"/a", b"/b") + BODY, id="another target"),
        pytest.param(HEAD.replace(b": b", b":  b") + BODY, id="another blank"),
    ],
)
def test_all_else_is_the_parsers(heads: KnownHeads, data: bytes) -> None:
    heads.keep(known(), HEAD + BODY, 3)
    assert heads.find(data) is None


@pytest.mark.parametrize(
    ("data", "nbytes"),
    [
        pytest.param(HEAD, 0, id="no body"),
        pytest.param(b"\r\n\r\n" + HEAD + BODY, 3, id="blank lines before"),
        pytest.param(HEAD + BODY + HEAD + BODY, 3, id="two requests"),
        pytest.param(HEAD + b"3\r\nabc\r\n0\r\n\r\n", 3, id="in chunks"),
        pytest.param(
            HEAD.replace(b"host: b", b"host: %b" % (b"b" * 1024)) + BODY, 3, id="long"
        ),
    ],
)
def test_only_a_short_head_with_its_body_is_kept(
    heads: KnownHeads, data: bytes, nbytes: int
) -> None:
    heads.keep(known(), data, nbytes)
    assert heads.find(data) is None
    assert heads.find(HEAD + BODY) is None


def test_only_so_many_are_kept(
    heads: KnownHeads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_heads, "MAX_HEADS", 2)
    requests = [HEAD.replace(b"/a", b"/%d" % number) + BODY for number in range(3)]
    for each in requests:
        heads.keep(known(), each, 3)

    assert [heads.find(each) is not None for each in requests] == [False, False, True]
