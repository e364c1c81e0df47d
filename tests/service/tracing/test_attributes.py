from __future__ import annotations

from typing import Any

import pytest

from service.telemetry.route import Route
from service.tracing.attributes import name_of, request_attributes
from tests.support.servers import http_scope

ROUTE = Route(
    rule="/v1/models/<model:name>:predict",
    blueprint="tfserving",
    model="a",
    predicts=True,
    probe=False,
)


@pytest.mark.parametrize(
    ("method", "route", "name"),
    [
        ("POST", ROUTE, "POST /v1/models/<model:name>:predict"),
        ("GET", None, "GET"),
        ("MADE-UP", None, "HTTP"),
    ],
)
def test_names_are_few(method: str, route: Route | None, name: str) -> None:
    assert name_of(method, route) == name


@pytest.mark.parametrize(
    ("host", "address", "port"),
    [
        ("models.example:8080", "models.example", 8080),
        ("models.example", "models.example", 80),
        ("[::1]:8501", "[::1]", 8501),
        ("", "127.0.0.1", 8000),
    ],
)
def test_the_address_is_the_one_that_was_asked(
    host: str, address: str, port: int
) -> None:
    headers = [(b"host", host.encode())] if host else []
    found = request_attributes(http_scope(headers=headers), None)

    assert (found["server.address"], found["server.port"]) == (address, port)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"method": "MADE-UP"}, {"http.request.method_original": "MADE-UP"}),
        ({"method": "MADE-UP"}, {"http.request.method": "_OTHER"}),
        ({"query_string": b"a=1"}, {"url.query": "a=1"}),
        ({"headers": [(b"user-agent", b"curl")]}, {"user_agent.original": "curl"}),
        ({"headers": [(b"content-length", b"7")]}, {"http.request.body.size": 7}),
    ],
)
def test_request_attributes(changes: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert request_attributes(http_scope(**changes), ROUTE).items() >= wanted.items()


def test_secrets_are_not_told() -> None:
    secrets = [(b"authorization", b"Bearer hidden"), (b"x-api-key", b"hidden")]
    found = request_attributes(http_scope(headers=secrets), ROUTE)

    assert "hidden" not in str(found)


def test_a_socket_of_a_path_has_no_address() -> None:
    found = request_attributes(http_scope(server=None, client=None), None)

    assert not {"server.address", "client.address"} & found.keys()
