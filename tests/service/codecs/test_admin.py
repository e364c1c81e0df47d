from __future__ import annotations

import pytest

from inference import InvalidRequest
from service.codecs.admin import (
    Concurrency,
    Drain,
    Labels,
    Nothing,
    Pin,
    decode,
)


@pytest.mark.parametrize("body", [b"", b" \n", b"{}"])
def test_a_call_without_a_body(body: bytes) -> None:
    assert decode(body, Nothing) == Nothing()


def test_bodies() -> None:
    labels = decode(b'{"stable": 3, "canary": null}', Labels)

    assert labels.root == {"stable": 3, "canary": None}
    assert decode(b'{"pinned": false}', Pin).pinned is False
    assert decode(b'{"concurrency": 4}', Concurrency).concurrency == 4
    assert decode(b'{"draining": true}', Drain).draining is True


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        (Nothing, b'{"a": 1}', "'a': there is no such key. Send for example {}"),
        (Nothing, b"[]", "an object"),
        (Labels, b"", "Invalid JSON"),
        (Labels, b"{}", "at least 1 item"),
        (Labels, b"[]", "an object"),
        (Labels, b'{"a b": 1}', "'a b': String should match pattern"),
        (Labels, b'{"a\\n": 1}', "String should match pattern"),
        (Labels, b'{"stable": 0}', "'stable': Input should be greater than"),
        (Labels, b'{"stable": "3"}', "'stable': Input should be a valid integer"),
        (Labels, b'{"stable": 3.0}', "'stable': Input should be a valid integer"),
        (Labels, b'{"stable": true}', "'stable': Input should be a valid integer"),
        (Pin, b'{"pinned": 1}', "'pinned': Input should be a valid boolean"),
        (Pin, b"{}", "'pinned': Field required"),
        (Pin, b'{"pinned": true, "for": 1}', "'for': there is no such key"),
        (Pin, b"null", "an object"),
        (Pin, b"\xff", "Invalid JSON"),
        (Concurrency, b'{"concurrency": 0}', "greater than or equal to 1"),
        (Concurrency, b'{"concurrency": 2000}', "less than or equal to 1024"),
        (Concurrency, b'{"concurrency": "auto"}', "a valid integer"),
        (Drain, b'{"draining": "yes"}', "a valid boolean"),
    ],
)
def test_refusals_say_what_to_send(
    kind: type[Nothing | Labels | Pin | Concurrency | Drain], body: bytes, words: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode(body, kind)

    assert words in str(caught.value)
    assert ". Send for example {" in str(caught.value)


def test_a_refusal_of_many_mistakes_is_short() -> None:
    labels = ", ".join(f'"{"é" * 500}{n}": 1' for n in range(100))

    with pytest.raises(InvalidRequest) as caught:
        decode(f"{{{labels}}}".encode(), Labels)

    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Concurrency, b'{"concurrency": 4, "concurrency": 5}'),
        (Labels, b'{"stable": 3, "stable": 4}'),
    ],
)
def test_a_key_twice_is_refused(kind: type[Labels | Concurrency], body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="is there twice in one object"):
        decode(body, kind)
