"""Attributes of a request's span, by OpenTelemetry's conventions for HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.bridge.bridge import Scope
    from service.telemetry.route import Route

    Value = str | int

METHODS = frozenset("CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT TRACE".split())
PORTS = {"http": 80, "https": 443}


def name_of(method: str, route: Route | None) -> str:
    """Return a span's name: few words that many requests have in common."""
    verb = method if method in METHODS else "HTTP"
    return verb if route is None else f"{verb} {route.rule}"


def request_attributes(scope: Scope, route: Route | None) -> dict[str, Value]:
    """Return what is known of a request before it is answered."""
    method = scope["method"]
    known = method in METHODS
    found: dict[str, Value] = {
        "http.request.method": method if known else "_OTHER",
        "url.path": scope["path"],
        "url.scheme": scope["scheme"],
        "network.protocol.version": scope["http_version"],
    }
    if not known:
        found["http.request.method_original"] = method

    if scope["query_string"]:
        found["url.query"] = scope["query_string"].decode("latin-1")

    if scope.get("client"):
        found["client.address"] = scope["client"][0]

    headers = dict(scope["headers"])
    found |= _server(headers.get(b"host", b"").decode("latin-1"), scope)
    if b"user-agent" in headers:
        found["user_agent.original"] = headers[b"user-agent"].decode("latin-1")

    if headers.get(b"content-length", b"").isdigit():
        found["http.request.body.size"] = int(headers[b"content-length"])

    return found if route is None else found | _route(route)


def _route(route: Route) -> dict[str, Value]:
    model = {} if route.model is None else {"tandem.model.name": route.model}
    return {"http.route": route.rule, **model}


def _server(host: str, scope: Scope) -> dict[str, Value]:
    """Return the address that the client asked, by its own word or the socket's."""
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit() and len(port) <= 5:
        return {"server.address": name, "server.port": int(port)}

    if host:
        usual = PORTS.get(scope["scheme"])
        return {"server.address": host} | ({"server.port": usual} if usual else {})

    server = scope.get("server")
    return {"server.address": server[0], "server.port": server[1]} if server else {}
