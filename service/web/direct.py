"""Views that the bridge calls without Flask's dispatch, when nothing asks for more.

Flask declares every route, and serves each. A view declared `direct` has a short form
for small, plain requests: no WSGI environ, greenlet, Flask contexts or response object.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from flask import signals
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from service.bridge.disconnect import WatchTimer
from service.server.whole import exchange_of, respond, take_body
from service.telemetry.logs import log_request, logs_requests, request_id
from service.telemetry.requests import MAX_NOTED, OK
from service.telemetry.traces import sampled_trace
from service.web.access_log import choose_id, describe, trace_field
from service.web.errors import CLIENT_CLOSED_REQUEST, answer_error, reason_of
from service.web.keys import admits
from service.web.response import readable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from service.bridge.bridge import Message, Receive, Scope, Send
    from service.telemetry.requests import RequestCounters, Source
    from service.web.application import ConcurrentFlask

    Prepare = Callable[..., "DirectView | None"]

V = TypeVar("V", bound="Callable[..., Any]")

MAX_BODY_DIGITS = 5
"""Of a content length: bodies of less than 98 KiB are short."""

REQUEST_ID, TRACEPARENT = b"x-request-id", b"traceparent"
NOTED = frozenset({REQUEST_ID, TRACEPARENT})
LINES = b"content-type: application/json\r\nx-request-id: %b\r\n%b"
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


class DirectAnswer(NamedTuple):
    """A JSON body, its status, and header lines as they are sent, in lower case.

    `version` is that of the model which answered, `ended` when, by `perf_counter`.
    """

    body: bytes
    status: int
    lines: bytes
    version: int | None = None
    ended: float | None = None


class DirectView(Protocol):
    """A view of one path, of a request's scope and its whole body.

    Returns `None` for a request that is to go through Flask, before it first waits.
    """

    @property
    def fields(self) -> Mapping[str, str]:
        """Fields of the path for the access log."""

    @property
    def requests(self) -> RequestCounters:
        """The counters of its requests."""

    def source(self, version: int | None) -> Source:
        """Return who answered; without a version, who would answer now."""

    def __call__(self, scope: Scope, body: bytes) -> Awaitable[DirectAnswer | None]: ...


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
        if self._app.dispatches_otherwise or any(RECEIVERS):
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

        keys = self._app.keys
        if keys is not None and not admits(keys, scope, view.fields.get("model")):
            return None

        return view

    async def answer(
        self, view: DirectView, scope: Scope, receive: Receive, send: Send
    ) -> Receive | None:
        """Answer a request, or send nothing and return the `receive` for Flask."""
        # In one coroutine: each that awaits another costs up to 1 µs.
        own = exchange_of(receive, send)
        body = None if own is None else take_body(own)
        if body is None:
            first = await receive()
            receive = replay(first, receive)
            if first["type"] != "http.request" or first.get("more_body", False):
                return receive

            body = first.get("body", b"")

        entry = _Entry(view, scope, len(body))
        watch = _ClientWatch(receive)
        self._timer.add(watch)
        token = request_id.set(entry.id)

        try:
            answer = await view(scope, body)
        except asyncio.CancelledError:
            entry.end(CLIENT_CLOSED_REQUEST, time.perf_counter())
            if watch.gone and _was_cancelled_once():
                return None

            raise
        except Exception as exc:
            answer = _error_answer(exc)
            if reason := reason_of(exc):
                view.requests.refuse(reason, view.source(None)[0])
        finally:
            watch.stop()
            # Flask's way has an id of its own.
            request_id.reset(token)

        if answer is None:
            return receive

        ended = answer.ended or time.perf_counter()
        entry.end(answer.status, ended, answer.body, answer.version)
        lines = LINES % (entry.id.encode(), answer.lines)
        if own is None or not respond(own, answer.status, lines, answer.body):
            await _send(send, answer, lines)

        return None

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

        length = fields.get(b"content-length", b"")
        if not 0 < len(length) <= MAX_BODY_DIGITS or not length.isdigit():
            return False

        limit = self._app.config["MAX_CONTENT_LENGTH"]
        if limit is not None and int(length) > limit:
            return False

        return fields.get(b"content-type") in JSON_TYPES


class _ClientWatch:
    """Cancels the current task when the client has gone, once the timer starts it."""

    # The timer keeps it for longer than the request, so the rest of that isn't here.
    __slots__ = ("_receive", "_task", "_watching", "gone")

    def __init__(self, receive: Receive) -> None:
        self.gone = False
        self._receive: Receive | None = receive
        self._task = asyncio.current_task()
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._receive is not None:
            self._watching = asyncio.create_task(self._watch(self._receive))

    def stop(self) -> None:
        self._receive = self._task = None
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

        if self._task is not None:
            self.gone = True
            self._task.cancel()


class _Entry:
    """A direct request, to be counted and logged."""

    __slots__ = ("_bytes_in", "_scope", "_started", "_trace", "_view", "id")

    def __init__(self, view: DirectView, scope: Scope, bytes_in: int) -> None:
        self._view = view
        self._scope = scope
        self._bytes_in = bytes_in
        self._started = time.perf_counter()
        sent = [each for each in scope["headers"] if each[0] in NOTED]
        self._trace: bytes | None = None
        given = ""
        for name, value in sent:
            if name == REQUEST_ID:
                given = value.decode("latin-1")
            else:
                self._trace = value

        self.id = choose_id(given)

    def end(
        self,
        status: int,
        ended: float,
        body: bytes | None = None,
        version: int | None = None,
    ) -> None:
        view, seconds = self._view, ended - self._started
        noted = view.requests.noted
        noted.append((view, version, status, seconds, self._bytes_in))
        if len(noted) >= MAX_NOTED:
            view.requests.settle()

        if self._trace is not None and status == OK:
            self._exemplify(seconds, version, self._trace.decode("latin-1"))

        if not logs_requests():
            return

        fields = describe(
            method=self._scope["method"],
            path=self._scope["path"],
            status=status,
            bytes_in=self._bytes_in,
            seconds=seconds,
        )
        if body is not None:
            fields["bytes_out"] = len(body)

        fields.update(view.fields)
        if self._trace is not None:
            fields |= trace_field(self._trace.decode("latin-1"))

        log_request(fields, self.id)

    def _exemplify(self, seconds: float, version: int | None, parent: str) -> None:
        trace = sampled_trace(parent)
        if trace is not None:
            view = self._view
            view.requests.sources[view.source(version)].exemplify(seconds, trace)


def _error_answer(exc: Exception) -> DirectAnswer:
    error = answer_error(exc)
    lines = [f"{name.lower()}: {value}\r\n" for name, value in error.headers.items()]
    body = readable({"error": error.text})
    return DirectAnswer(body, error.status, "".join(lines).encode())


def _was_cancelled_once() -> bool:
    """Return whether nobody else has cancelled the current task, too."""
    task = asyncio.current_task()
    return task is not None and task.uncancel() == 0


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


async def _send(send: Send, answer: DirectAnswer, lines: bytes) -> None:
    lines += b"content-length: %d\r\n" % len(answer.body)
    headers = [tuple(line.split(b": ", 1)) for line in lines.split(b"\r\n")[:-1]]
    start = {
        "type": "http.response.start",
        "status": answer.status,
        "headers": headers,
    }
    await send(start)
    await send({"type": "http.response.body", "body": answer.body})


def replay(first: Message, receive: Receive) -> Receive:
    """Return a `receive` that gives `first` once more before the rest."""
    messages = [first]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again
