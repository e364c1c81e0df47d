"""Views that the bridge calls without Flask's dispatch, when nothing asks for more.

Flask declares every route, and serves each. A view declared `direct` has a short form
for small, plain requests: no WSGI environ, greenlet, Flask contexts or response object.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypeVar

from flask import signals
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from service.bridge.disconnect import WatchTimer
from service.server.short import DECLINED
from service.telemetry.logs import log_request, logs_requests, request_id
from service.telemetry.requests import MAX_NOTED, OK
from service.telemetry.traces import sampled_trace
from service.web.access_log import choose_id, describe, trace_field
from service.web.errors import CLIENT_CLOSED_REQUEST, answer_error, reason_of
from service.web.keys import admits
from service.web.response import readable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import Self

    from service.bridge.bridge import Message, Receive, Scope, Send
    from service.server.short import ShortExchange
    from service.telemetry.requests import RequestCounters, Source
    from service.web.application import ConcurrentFlask

    Prepare = Callable[..., "DirectView | None"]
    Outcome: TypeAlias = "DirectAnswer | Awaitable[DirectAnswer] | Exception"
    Then: TypeAlias = Callable[[Outcome], None]

logger = logging.getLogger("tandem.bridge")

V = TypeVar("V", bound="Callable[..., Any]")

MAX_BODY_DIGITS = 5
"""Of a content length: bodies of less than 98 KiB are short."""

REQUEST_ID, TRACEPARENT = b"x-request-id", b"traceparent"
LENGTH = b"content-length"
NOTED = frozenset({REQUEST_ID, TRACEPARENT, LENGTH})
JSON_LINE = b"content-type: application/json\r\n"
LINES = JSON_LINE + b"x-request-id: %b\r\n%b"
UNFORESEEN = b'{"error": "Internal server error."}'
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

    def start(self, scope: Scope, body: bytes, then: Then) -> Waiting | None:
        """Begin to answer, as a call does; `then` gets the outcome in a later turn."""


class Waiting(Protocol):
    """A request that is being answered without a task."""

    def leave(self) -> None:
        """Wait no more: `then` isn't called."""


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

    async def answer(
        self, view: DirectView, scope: Scope, receive: Receive, send: Send
    ) -> Receive | None:
        """Answer a request, or send nothing and return the `receive` for Flask."""
        first = await receive()
        receive = replay(first, receive)
        if first["type"] != "http.request" or first.get("more_body", False):
            return receive

        body = first.get("body", b"")
        entry = _Entry(DirectHead.of(view, scope["headers"]), scope, len(body))
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
        await _send(send, answer, lines)
        return None

    def begin(self, head: DirectHead, exchange: ShortExchange) -> None:
        """Answer a whole request on its exchange, or decline it."""
        body = bytes(exchange.body)
        short = _Short(exchange, _Entry(head, exchange.scope, len(body)))
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
        entry = _Entry(head, exchange.scope, len(exchange.body))
        entry.end(CLIENT_CLOSED_REQUEST, time.perf_counter())

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


class DirectHead(NamedTuple):
    """What a direct request's head says: the length of its body, its trace and id."""

    view: DirectView
    nbytes: int
    id: str
    trace: bytes | None

    @classmethod
    def of(cls, view: DirectView, headers: list[tuple[bytes, bytes]]) -> Self:
        noted = dict([each for each in headers if each[0] in NOTED])
        return cls(
            view,
            int(noted.get(LENGTH, b"0")),
            noted.get(REQUEST_ID, b"").decode("latin-1"),
            noted.get(TRACEPARENT),
        )


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


class _Short:
    """A request that is answered on its exchange, without a task."""

    __slots__ = ("_exchange", "_waiting", "entry")

    def __init__(self, exchange: ShortExchange, entry: _Entry) -> None:
        self.entry = entry
        self._exchange = exchange
        self._waiting: Waiting | None = None

    def wait(self, waiting: Waiting | None) -> None:
        """Wait for the outcome; for `None`, let the application answer."""
        if waiting is None:
            self._exchange.decline()
            return

        self._waiting = waiting
        self._exchange.leave = self._leave

    def end(self, outcome: Outcome) -> None:
        """Answer with the outcome."""
        # They hold each other: without a cycle, all is freed at once.
        self._waiting = None
        try:
            if isinstance(outcome, DirectAnswer):
                self._answer(outcome)
            elif isinstance(outcome, Exception):
                self._refuse(outcome)
            else:
                self._exchange.spawn(self._answer_later(outcome))
        except Exception:
            logger.exception("Error while serving %s", self._exchange.scope["path"])
            self._exchange.respond(500, JSON_LINE, UNFORESEEN)

    def _answer(self, answer: DirectAnswer) -> None:
        ended = answer.ended or time.perf_counter()
        self.entry.end(answer.status, ended, answer.body, answer.version)
        lines = LINES % (self.entry.id.encode(), answer.lines)
        self._exchange.respond(answer.status, lines, answer.body)

    def _refuse(self, error: Exception) -> None:
        token = request_id.set(self.entry.id)
        try:
            answer = _error_answer(error)
        finally:
            request_id.reset(token)

        if reason := reason_of(error):
            view = self.entry.view
            view.requests.refuse(reason, view.source(None)[0])

        self._answer(answer)

    async def _answer_later(self, encoding: Awaitable[DirectAnswer]) -> None:
        try:
            outcome: Outcome = await encoding
        except Exception as exc:
            outcome = exc

        if not self._exchange.disconnected:
            self.end(outcome)

    def _leave(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.leave()

        self.entry.end(CLIENT_CLOSED_REQUEST, time.perf_counter())


class _Entry:
    """A direct request, to be counted and logged."""

    __slots__ = ("_bytes_in", "_scope", "_started", "_trace", "id", "view")

    def __init__(self, head: DirectHead, scope: Scope, bytes_in: int) -> None:
        self.view = head.view
        self.id = choose_id(head.id)
        self._trace = head.trace
        self._scope = scope
        self._bytes_in = bytes_in
        self._started = time.perf_counter()

    def end(
        self,
        status: int,
        ended: float,
        body: bytes | None = None,
        version: int | None = None,
    ) -> None:
        view, seconds = self.view, ended - self._started
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
            view = self.view
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
