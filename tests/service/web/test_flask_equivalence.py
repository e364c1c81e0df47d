"""The same requests to plain Flask and to our application give the same answers.

Each request is made three times, because ours caches matches.
"""

from __future__ import annotations

from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
from flask import Flask
from itsdangerous import TimestampSigner

from service.bridge.bridge import Bridge
from service.web.application import ConcurrentFlask
from tests.support.flask_features import fill

BASE = "http://example.org"


REQUESTS = [
    ("GET", "/int/5", {}),
    ("GET", "/int/x", {}),
    ("GET", "/int/5/", {}),
    ("POST", "/int/5", {}),
    ("HEAD", "/int/5", {}),
    ("OPTIONS", "/int/5", {}),
    ("OPTIONS", "/page/", {}),
    ("GET", "/path/a/b%20c/%C3%A9", {}),
    ("GET", "/path//a", {}),
    ("GET", "/list/a+b", {}),
    ("GET", "/page/", {}),
    ("GET", "/page", {}),
    ("GET", "/page?x=1", {}),
    ("GET", "/page/1", {}),
    ("GET", "/page/1?x=1", {}),
    ("GET", "/page/2", {}),
    ("POST", "/page/2", {}),
    ("PUT", "/page/2", {}),
    ("GET", "/any/a/1.5/12345678-1234-5678-1234-567812345678", {}),
    ("GET", "/any/c/1.5/12345678-1234-5678-1234-567812345678", {}),
    ("GET", "/old", {}),
    *(("GET", f"/status/{code}", {}) for code in (200, 201, 204, 304, 404, 418, 503)),
    *(("HEAD", path, {}) for path in ("/headers", "/stream", "/json", "/status/204")),
    *(("GET", path, {}) for path in ("/headers", "/redirect", "/located", "/stream")),
    *(("GET", path, {}) for path in ("/json", "/bytes", "/length", "/etag")),
    ("GET", "/etag", {"headers": {"If-None-Match": "*"}}),
    *(("GET", f"/abort/{code}", {}) for code in (400, 404, 405, 410, 500)),
    ("GET", "/fail", {}),
    ("GET", "/nowhere", {}),
    ("GET", "/static/nothing", {}),
    ("GET", "/int/5?stop=1", {}),
    ("POST", "/echo", {"json": {"a": [1]}}),
    ("POST", "/echo?a=1&a=2&b=%C3%A9", {"json": 1}),
    ("POST", "/echo", {"data": {"a": "1", "b": "é"}}),
    ("POST", "/echo", {"content": b"\xc3\xa9"}),
    (
        "POST",
        "/echo",
        {"content": b"{", "headers": {"Content-Type": "application/json"}},
    ),
    ("POST", "/strict-json", {"json": {"a": 1}}),
    ("POST", "/strict-json", {"content": b"{"}),
    ("POST", "/echo", {"content": b"x" * 2000}),
    ("POST", "/lines", {"content": b"one\ntwo\n" + b"x" * 900}),
    ("POST", "/files", {"data": {"a": "1"}, "files": {"f": ("name.txt", b"content")}}),
    ("GET", "/about", {}),
    ("PUT", "/about", {}),
    ("GET", "/about", {"headers": {"Host": "other.example:81"}}),
    ("GET", "/about", {"headers": {"Host": "bad host"}}),
    ("GET", "/about", {"headers": {"Connection": "upgrade", "Upgrade": "websocket"}}),
    ("GET", "/session", {}),
    ("GET", "/session", {"headers": {"Cookie": "session=nonsense; a=b"}}),
    ("GET", "/session/word", {}),
    ("GET", "/flash", {}),
    ("GET", "/part/one", {}),
    ("GET", "/part/one/two", {}),
]


def show(value: Any) -> str | None:
    return value if isinstance(value, str) else None


async def ask_flask(app: Flask, wanted: httpx.Request) -> Any:
    def ask() -> Any:
        answer = app.test_client(use_cookies=False).open(
            wanted.url.raw_path.decode(),
            method=wanted.method,
            base_url=BASE,
            headers=wanted.headers.multi_items(),
            data=wanted.content,
        )
        return answer.status_code, headers_of(answer.headers.items()), answer.data

    # Flask runs coroutines itself in a thread without a loop.
    return await anyio.to_thread.run_sync(ask)


async def ask_ours(app: Flask, wanted: httpx.Request) -> Any:
    transport = httpx.ASGITransport(Bridge(app))
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
        answer = await client.send(wanted)

    return answer.status_code, headers_of(answer.headers.multi_items()), answer.content


def headers_of(items: Any) -> list[tuple[str, str]]:
    # The server's business: the bridge leaves it out.
    named = ((name.lower(), value) for name, value in items)
    return sorted((name, value) for name, value in named if name != "date")


CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "limited": {"MAX_CONTENT_LENGTH": 1000},
    "with sessions": {"SECRET_KEY": "secret"},
    "named": {"SERVER_NAME": "example.org", "TRUSTED_HOSTS": ["example.org"]},
}


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def pair(request: pytest.FixtureRequest) -> tuple[Flask, Flask]:
    config = CONFIGURATIONS[request.param] | {"PROPAGATE_EXCEPTIONS": False}
    plain, ours = Flask("app"), ConcurrentFlask("app")
    for app in (plain, ours):
        app.config.update(config)
        fill(app)

    return plain, ours


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sign all sessions at one time: two may be of different seconds."""
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda signer: 1_800_000_000)


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize(("method", "url", "kwargs"), REQUESTS, ids=show)
async def test_responses_equal_flasks(
    pair: tuple[Flask, Flask], method: str, url: str, kwargs: dict[str, Any]
) -> None:
    plain, ours = pair
    wanted = httpx.Request(method, BASE + url, **kwargs)
    wanted.read()
    expected = await ask_flask(plain, wanted)

    for _ in range(3):
        assert await ask_ours(ours, wanted) == expected
