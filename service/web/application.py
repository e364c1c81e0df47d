"""A Flask application whose views run concurrently under the bridge."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import anyio
from flask import Flask
from flask.ctx import _AppCtxGlobals
from flask.sessions import NullSession, SecureCookieSessionInterface

from service.bridge.greenlets import await_, in_bridge, run_in_thread
from service.web.direct import DirectDispatcher
from service.web.request import BoundedRequest
from service.web.response import DirectResponse
from service.web.routing import CachingMap, LazyRule

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from flask import Request, Response
    from flask.sessions import SecureCookieSession
    from werkzeug.routing import MapAdapter

    from service.auth.keys import ApiKeys

VIEW_THREADS = 40

DISPATCHING = frozenset(
    """
    wsgi_app full_dispatch_request dispatch_request preprocess_request process_response
    finalize_request make_response do_teardown_request handle_exception
    handle_http_exception handle_user_exception raise_routing_exception
    create_url_adapter request_context request_class response_class session_interface
    app_ctx_globals_class
    """.split()
)
"""Attributes that an application may replace to take part in each request."""


class Globals(_AppCtxGlobals):
    """Flask's `g` with attributes set in C, as those of plain objects are."""

    __setattr__ = object.__setattr__  # type: ignore[assignment]


class OptionalSessions(SecureCookieSessionInterface):
    """Flask's sessions with a secret key; without one, a null session for all requests.

    Writing to a null session raises Flask's error, which names the missing key.
    """

    def __init__(self) -> None:
        # Flask makes a null session for each request: 2 µs.
        self._null = NullSession()

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        return super().open_session(app, request) if app.secret_key else self._null


class ConcurrentFlask(Flask):
    """Flask on `service.bridge.bridge.Bridge`.

    `async def` views, hooks and handlers run on the event loop in the request's own
    task. `def` views run in worker threads, at most `view_threads` at a time, in the
    request's own context. `def` hooks and error handlers run on the loop: they must be
    short and must not block.
    """

    app_ctx_globals_class = Globals
    request_class = BoundedRequest
    response_class = DirectResponse
    url_map_class = CachingMap
    url_rule_class = LazyRule
    session_interface = OptionalSessions()
    url_map: CachingMap

    def __init__(
        self, *args: Any, view_threads: int = VIEW_THREADS, **kwargs: Any
    ) -> None:
        self.view_limiter = anyio.CapacityLimiter(view_threads)
        # True once a request may be treated otherwise than by this class.
        self.dispatches_otherwise = type(self) is not ConcurrentFlask
        # Hooks and error handlers of ours, whose work the direct way does itself.
        self.plain_hooks: set[Callable[..., Any]] = set()
        # What the direct way checks itself; `None` if nobody needs an API key.
        self.keys: ApiKeys | None = None
        self.direct = DirectDispatcher(self)
        self._threaded: dict[Callable[..., Any], Callable[..., Any]] = {}
        self._ensured: dict[Callable[..., Any], Callable[..., Any]] = {}
        super().__init__(*args, **kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in DISPATCHING:
            self.dispatches_otherwise = True

        super().__setattr__(name, value)

    def async_to_sync(
        self, func: Callable[..., Coroutine[Any, Any, Any]]
    ) -> Callable[..., Any]:
        """Return a function that awaits `func` by `await_`."""

        # No `functools.wraps`: this is made for each call, and it takes 2.5 µs.
        def resolved(*args: Any, **kwargs: Any) -> Any:
            return await_(func(*args, **kwargs))

        return resolved

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        # Called four times a request.
        try:
            return self._ensured[func]
        except (KeyError, TypeError):
            # Not seen before, or without a hash.
            ensured = super().ensure_sync(func)

        # A closure may be made for one request, and isn't kept.
        if getattr(func, "__closure__", self) is None:
            self._ensured[func] = ensured

        return ensured

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        # Trusted hosts are checked for each request.
        if request is None or self.config["TRUSTED_HOSTS"] is not None:
            return super().create_url_adapter(request)

        known = self.url_map.lookup(request.environ)
        if known is not None:
            return known

        adapter = super().create_url_adapter(request)
        return adapter and self.url_map.wrap(adapter, request.environ)

    def make_response(self, rv: Any) -> Response:
        # Our views return responses, which need none of Flask's conversions.
        return rv if isinstance(rv, self.response_class) else super().make_response(rv)

    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: Callable[..., Any] | None = None,
        provide_automatic_options: bool | None = None,
        **options: Any,
    ) -> None:
        if view_func is not None and not is_async(view_func):
            view_func = self._in_thread(view_func)

        super().add_url_rule(
            rule, endpoint, view_func, provide_automatic_options, **options
        )

    def _in_thread(self, view: Callable[..., Any]) -> Callable[..., Any]:
        # Cached, since Flask demands the same function for the same endpoint.
        if view not in self._threaded:
            self._threaded[view] = in_thread(view, self.view_limiter)

        return self._threaded[view]


def in_thread(
    view: Callable[..., Any], limiter: anyio.CapacityLimiter
) -> Callable[..., Any]:
    """Return `view`, run in a worker thread when the bridge serves the request."""

    @functools.wraps(view)
    def threaded(*args: Any, **kwargs: Any) -> Any:
        if not in_bridge():
            return view(*args, **kwargs)

        return run_in_thread(functools.partial(view, *args, **kwargs), limiter)

    return threaded


def is_async(view: Callable[..., Any]) -> bool:
    """Return whether a view is asynchronous.

    A wrapper made with `functools.wraps` counts as the view it wraps; a class-based
    view is asynchronous if all its methods are.
    """
    view_class = getattr(view, "view_class", None)
    if view_class is None:
        return inspect.iscoroutinefunction(inspect.unwrap(view))

    methods = getattr(view, "methods", None) or ("get",)
    dispatch = view_class.dispatch_request
    handlers = [getattr(view_class, name.lower(), dispatch) for name in methods]
    return all(inspect.iscoroutinefunction(handler) for handler in handlers)
