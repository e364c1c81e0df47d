from __future__ import annotations

import socket

import pytest

from service.server.server import CannotListen, base_url, listen


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://127.0.0.1:80"),
        ("::1", "http://[::1]:80"),
        ("models.example", "http://models.example:80"),
    ],
)
def test_base_url(host: str, url: str) -> None:
    assert base_url(host, 80) == url


def test_a_free_port_is_found_and_can_be_connected_to() -> None:
    with listen("127.0.0.1", 0) as listener:
        address = listener.getsockname()
        assert address[1] > 0

        with socket.create_connection(address, timeout=10):
            pass


def test_a_taken_port_is_explained() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]

        with pytest.raises(CannotListen, match=rf"port {port}: .*in use.*--port"):
            listen("127.0.0.1", port)


def test_an_address_of_another_machine_is_explained() -> None:
    with pytest.raises(CannotListen, match=r"192\.0\.2\.1, .*--host"):
        listen("192.0.2.1", 0)
