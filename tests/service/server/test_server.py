from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from service.server.server import CannotListen, base_url, listen, renew_environment
from service.settings.rereading import SettingsReader
from service.settings.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path


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


def test_workers_started_later_have_the_newer_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("max-queue = 5\nport = 8000\n")
    flags: dict[str, Any] = {"models": "/", "config": str(file), "workers": 2}
    settings = load_settings(**flags)
    reader = SettingsReader(settings, flags)
    monkeypatch.setattr(os, "environ", dict(os.environ))

    with structlog.testing.capture_logs() as lines:
        file.write_text("max-queue = 6\nport = 9000\ngrace = 3\n")
        assert renew_environment(settings, reader)
        found = load_settings(environ=os.environ)
        file.write_text("max-queue = none\n")
        assert not renew_environment(settings, reader)

    assert (found.max_queue, found.grace, found.port, found.workers) == (6, 3, 8000, 2)
    assert [line.get("settings") for line in lines] == [["port"], None]
    assert load_settings(environ=os.environ) == found
