"""Views that are called without Flask's dispatch, when nothing asks for more.

Flask declares every route, and serves each. A view declared `direct` has a short form
for small, plain requests: no WSGI environ, greenlet, Flask contexts or response object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from flask import signals
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from service.bridge.disconnect import WatchTimer
from service.server.short import DECLINED
from service.telemetry.logs import request_id
from service.web.direct_messages import answer_by_messages
from service.web.direct_request import LENGTH, DirectHead, Entry, ShortRequest
from service.web.keys import admits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from service.bridge.bridge import Receive, Scope, Send
    from service.server.short import ShortExchange
    from service.web.application import ConcurrentFlask
    from service.web.direct_view import DirectView

    Prepare = Callable[..., DirectView | None]

V = TypeVar("V", bound="Callable[..., Any]")

MAX_BODY_DIGITS = 5
"""Of a content length: bodies of less than 98 KiB are short."""

MAX_ROUTES = 1024
UNSEEN: Any = object()
MAX_PATH = 512
JSON_TYPES = frozenset(
    b"application/json" + charset
    for charset in (b"", b"; charset=utf-8", b";charset=utf-8", b"; charset=UTF-8")
)
SPECIAL_HEADERS = frozenset(
    {
        b"cache-control",
        b"content-encoding",
        b"expect",
        b"prefer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers that only Flask's way heeds."""

RECEIVERS = tuple(
    signal.receivers
    for signal in (
        *(signals.appcontext_popped, signals.appcontext_pushed),
        *(signals.appcontext_tearing_down, signals.got_request_exception),
        *(signals.request_finished, signals.request_started),
        signals.request_tearing_down,
    )
)
"""Receivers of Flask's signals, by signal."""


def direct(prepare: Prepare) -> Callable[[V], V]:
    """Let a Flask view answer directly, by the view that `prepare` makes for a path.

    `prepare` gets the application, and the values of the path by name; with `None`
    it leaves the path to Flask.
    """

    def declare(view: V) -> V:
        # With the view: `functools.wraps` copies attributes to a wrapper, which must
        # not be passed over.
        view.prepare_direct = view, prepare  # type: ignore[attr-defined]
        return view

    return declare


class DirectDispatcher:
    """Finds and runs the direct views of an application.

    All that Flask would do beside calling the view must be known to be nothing, or to
    be done here: see `_is_plain`. For one event loop at a time.
    """

    def __init__(self, app: ConcurrentFlask) -> None:
        self._app = app
        self._views: dict[tuple[str, bytes], DirectView | None] = {}
        self._timer = WatchTimer()

    def find(self, scope: Scope) -> DirectView | None:
        """Return the view that may answer directly; `None` leaves it to Flask."""
        if self._app.dispatches_otherwise or any(RECEIVERS) or DECLINED in scope:
            return None

        key = (scope["method"], scope.get("raw_path") or b"")
        view: DirectView | None = self._views.get(key, UNSEEN)
        if view is UNSEEN:
            view = self._look_up(key, scope)

        if (
            view is None
            or scope["query_string"]
            or not self._is_short(scope["headers"])
        ):
            return None

        return view if self._admits(view, scope) else None

    def head(self, scope: Scope) -> DirectHead | None:
        """Return what a request's head says, if `find` has a view for it."""
        view = self.find(scope)
        return None if view is None else DirectHead.of(view, scope["headers"])

    def accepts(self, head: DirectHead, scope: Scope) -> bool:
        """Return whether one more request has a view, whose head is as `head` was."""
        if self._app.dispatches_otherwise or any(RECEIVERS):
            return False

        return self._has_room(head.nbytes) and self._admits(head.view, scope)

    def _admits(self, view: DirectView, scope: Scope) -> bool:
        keys = self._app.keys
        return keys is None or admits(keys, scope, view.fields.get("model"))

    def answer(
        self, view: DirectView, scope: Scope, receive: Receive, send: Send
    ) -> Awaitable[Receive | None]:
        """Answer a request, or send nothing and return the `receive` for Flask."""
        return answer_by_messages(view, scope, receive, send, self._timer)

    def begin(self, head: DirectHead, exchange: ShortExchange) -> None:
        """Answer a whole request on its exchange, or decline it."""
        body = bytes(exchange.body)
        short = ShortRequest(exchange, Entry(head, exchange.scope, len(body)))
        token = request_id.set(short.entry.id)
        try:
            waiting = head.view.start(exchange.scope, body, short.end)
        except Exception as exc:
            short.end(exc)
        else:
            short.wait(waiting)
        finally:
            request_id.reset(token)

    def leave_unread(self, head: DirectHead, exchange: ShortExchange) -> None:
        """Count a request whose client has gone before it was whole."""
        Entry(head, exchange.scope, len(exchange.body)).leave()

    def _look_up(self, key: tuple[str, bytes], scope: Scope) -> DirectView | None:
        method, path = key
        if not path or len(path) > MAX_PATH or b"%" in path or not path.isascii():
            return None

        app = self._app
        # Mounted by another application, it is Flask's to split the path.
        prefix = scope.get("root_path", "")
        if not _is_plain(app) or (prefix and scope["path"].startswith(prefix)):
            return None

        try:
            endpoint, values = app.url_map.bind("localhost").match(
                scope["path"], method
            )
        except (HTTPException, RequestRedirect):
            return None

        # As after a first request to Flask: hooks that come now are refused.
        app._got_first_request = True
        view = app.view_functions[endpoint]
        declared: tuple[Any, Prepare] | None = getattr(view, "prepare_direct", None)
        prepare = declared[1] if declared and declared[0] is view else None
        ours = all(_is_plain(app, blueprint) for blueprint in _blueprints(endpoint))

        if len(self._views) >= MAX_ROUTES:
            self._views.clear()

        found = prepare(app, **values) if prepare is not None and ours else None
        self._views[key] = found
        return found

    def _is_short(self, headers: list[tuple[bytes, bytes]]) -> bool:
        """Return whether headers and body are few, short, and nothing special."""
        fields = dict(headers)

        # A repeated header is Flask's to judge.
        if len(fields) != len(headers) or not SPECIAL_HEADERS.isdisjoint(fields):
            return False

        # An answer as arrays is Flask's.
        if b"x-np" in fields.get(b"accept", b""):
            return False

        length = fields.get(LENGTH, b"")
        if not 0 < len(length) <= MAX_BODY_DIGITS or not length.isdigit():
            return False

        return self._has_room(int(length)) and fields.get(b"content-type") in JSON_TYPES

    def _has_room(self, nbytes: int) -> bool:
        limit: int | None = self._app.config["MAX_CONTENT_LENGTH"]
        return limit is None or nbytes <= limit


def _is_plain(app: ConcurrentFlask, blueprint: str | None = None) -> bool:
    """Return whether Flask would do no more than the direct way for a blueprint.

    That is: no hook, error handler or class but ours takes part. `blueprint` `None`
    asks for the application alone.
    """
    hooks = (
        app.before_request_funcs,
        app.after_request_funcs,
        app.teardown_request_funcs,
        app.url_value_preprocessors,
    )
    found = {hook for kind in hooks for hook in kind.get(blueprint, ())}
    found |= {
        handler
        for handlers in app.error_handler_spec.get(blueprint, {}).values()
        for handler in handlers.values()
    }

    if not found <= app.plain_hooks:
        return False

    return blueprint is not None or (
        not app.teardown_appcontext_funcs and _is_usual(app)
    )


def _blueprints(endpoint: str) -> list[str]:
    """Return the names of an endpoint's blueprint and of those that it is nested in."""
    parts = endpoint.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _is_usual(app: ConcurrentFlask) -> bool:
    hosts = app.config["TRUSTED_HOSTS"], app.config["SERVER_NAME"]
    return not any(hosts) and not app.url_map.host_matching
