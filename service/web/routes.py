"""The routes of an application, found by a request's method and path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from service.telemetry.route import Route
from service.web.access_log import PROBES

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.routing import Rule

MAX_ROUTES = 1024
MAX_PATH = 512

PREDICTING = (":predict", ":<any(classify, regress):method>", "/infer")
"""Ends of the rules whose POST is a prediction."""

V2_PROBES = ("/health/live", "/health/ready", "/ready")


class Routes:
    """Remembers the routes of an application's latest paths, for one event loop."""

    def __init__(self, app: Flask) -> None:
        self._urls = app.url_map.bind("localhost")
        self._known: dict[tuple[str, str], Route | None] = {}

    def find(self, method: str, path: str) -> Route | None:
        """Return the route of a request, `None` for one that nothing answers."""
        key = method, path
        if key in self._known:
            return self._known[key]

        found = self._match(method, path)
        if len(path) <= MAX_PATH:
            if len(self._known) >= MAX_ROUTES:
                self._known.clear()

            self._known[key] = found

        return found

    def _match(self, method: str, path: str) -> Route | None:
        try:
            rule, values = self._urls.match(path, method, return_rule=True)
        except (HTTPException, RequestRedirect):
            return None

        return _route(rule, values.get("name"))


def _route(rule: Rule, model: str | None) -> Route:
    blueprint = str(rule.endpoint).rpartition(".")[0]
    return Route(
        rule=rule.rule,
        blueprint=blueprint,
        model=model,
        predicts=rule.rule.endswith(PREDICTING),
        probe=blueprint in PROBES or rule.rule.endswith(V2_PROBES),
    )
