"""The client against sockets with prepared answers."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from service.cli.client import AdminClient, CallFailed, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator


class Peer:
    """A socket that sends one answer, or none; `heard` is the request."""

    def __init__(self, answer: bytes | None, ending: bytes) -> None:
        self._answer = answer
        self._ending = ending
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.heard = b""
        self.done = threading.Event()

    def serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            # Read all of it: unread bytes at the close would cause a reset.
            while not self.heard.endswith(self._ending):
                self.heard += connection.recv(65536)

            if self._answer is not None:
                connection.sendall(self._answer)
            else:
                self.done.wait()

    def close(self) -> None:
        self.done.set()
        self._listener.close()


@contextmanager
def peer(answer: bytes | None, ending: bytes = b"\r\n\r\n") -> Iterator[Peer]:
    """Serve one answer, sent once the request has ended with `ending`.

    `answer` starts with the status line; `None` keeps the client waiting.
    """
    peer = Peer(answer, ending)
    thread = threading.Thread(target=peer.serve)
    thread.start()
    try:
        yield peer
    finally:
        peer.close()
        thread.join()


def reply(status: str, body: str, *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", "Connection: close", *headers]
    return ("\r\n".join(head) + f"\r\n\r\n{body}").encode()


def test_a_call() -> None:
    with peer(reply("200 OK", '{"a": 1}'), ending=b"}") as server:
        client = AdminClient(url=f"{server.url}/prefix/", token="s3cret")
        answer = client.call("PUT", "/v1/admin/drain", {"draining": True})

    assert answer == {"a": 1}
    assert server.heard.startswith(b"PUT /prefix/v1/admin/drain HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer s3cret\r\n" in server.heard
    assert b"\r\nContent-Length: 18\r\n" in server.heard
    assert server.heard.endswith(b'{"draining": true}')


def test_without_a_token_none_is_sent() -> None:
    with peer(reply("200 OK", "{}")) as server:
        AdminClient(url=server.url).call("GET", "/v1/models")

    assert b"Authorization" not in server.heard


def test_a_user_name_in_the_url_does_not_replace_the_token() -> None:
    with peer(reply("200 OK", "{}")) as server:
        url = server.url.replace("//", "//user:word@")
        AdminClient(url=url, token="s3cret").call("GET", "/v1/models")

    assert b"\r\nAuthorization: Bearer s3cret\r\n" in server.heard


@pytest.mark.parametrize("name", ["HTTP_PROXY", "ALL_PROXY"])
def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:1")

    with peer(reply("200 OK", '{"a": 1}')) as server:
        assert AdminClient(url=server.url).call("GET", "/v1/models") == {"a": 1}


def test_a_refusal_has_the_servers_text_and_status() -> None:
    with (
        peer(reply("401 Unauthorized", '{"error": "no token"}')) as server,
        pytest.raises(CallFailed, match=r"^no token$") as caught,
    ):
        AdminClient(url=server.url).call("GET", "/")

    assert caught.value.status == 401


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(reply("200 OK", "<html>"), "answered 200, not as", id="HTML"),
        pytest.param(reply("200 OK", "[]"), "answered 200, not as", id="no object"),
        pytest.param(reply("502 Bad Gateway", ""), "answered 502", id="a gateway"),
        pytest.param(reply("404 Not Found", "{}"), "answered 404", id="no error"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n", "can't reach", id="no HTTP"),
        pytest.param(b"", "can't reach", id="nothing"),
        pytest.param(
            reply("302 Found", "", "Location: http://127.0.0.1:1/"),
            "answered 302",
            id="a redirect is not followed",
        ),
    ],
)
def test_other_servers(answer: bytes, words: str) -> None:
    with peer(answer) as server, pytest.raises(Unreachable, match=words):
        AdminClient(url=server.url).call("GET", "/")


def test_the_timeout_is_kept() -> None:
    with peer(None) as server, pytest.raises(Unreachable, match="no answer in time"):
        AdminClient(url=server.url, timeout=0.05).call("GET", "/")


def test_an_unreachable_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(Unreachable, match=r": Connection refused\. Is.*TANDEM_SERVER$"):
        AdminClient(url=f"http://127.0.0.1:{port}").call("GET", "/")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8501",
        "ftp://host",
        "http://",
        "http://h:x",
        "http://h:0",
        "http://[",
    ],
)
def test_invalid_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="isn't a server's URL"):
        AdminClient(url=url)
