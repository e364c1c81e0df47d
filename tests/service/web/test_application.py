from __future__ import annotations

import asyncio
import functools
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from flask import Blueprint, Response, flash, g, request, session
from flask.views import MethodView

from service.bridge.bridge import Bridge
from service.bridge.greenlets import await_
from service.web.application import ConcurrentFlask
from tests.support.flask_clients import client_of, get
from tests.support.servers import GONE, HandDriven, body_message

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

N = 20
variable: ContextVar[str] = ContextVar("variable", default="unset")


@pytest.fixture
def app() -> ConcurrentFlask:
    return ConcurrentFlask(__name__)


async def get_all(app: ConcurrentFlask, paths: list[str]) -> list[str]:
    texts: dict[str, str] = {}

    async def get_one(client: httpx.AsyncClient, path: str) -> None:
        texts[path] = (await client.get(path)).text

    with anyio.fail_after(60):
        async with client_of(app) as client, anyio.create_task_group() as group:
            for path in paths:
                group.start_soon(get_one, client, path)

    return [texts[path] for path in paths]


class Barrier:
    """A barrier that opens when `count` tasks are inside."""

    def __init__(self, count: int) -> None:
        self._missing = count
        self._open = anyio.Event()

    async def wait(self) -> None:
        self._missing -= 1
        if self._missing == 0:
            self._open.set()

        await self._open.wait()


async def test_async_views_overlap_and_stay_apart(app: ConcurrentFlask) -> None:
    barrier = Barrier(N)

    @app.get("/<name>")
    async def view(name: str) -> list[str]:
        before = variable.get()
        g.name = name
        variable.set(name)
        await barrier.wait()
        return [before, request.path, g.name, variable.get()]

    @app.after_request
    def check(response: Response) -> Response:
        assert response.json == ["unset", request.path, g.name, variable.get()]
        return response

    names = [f"name-{number}" for number in range(N)]
    texts = await get_all(app, [f"/{name}" for name in names])
    expected = [f'["unset","/{name}","{name}","{name}"]\n' for name in names]
    assert texts == expected
    assert variable.get() == "unset"


async def test_def_views_overlap_in_threads(app: ConcurrentFlask) -> None:
    barrier = threading.Barrier(5)
    loop_thread = threading.get_ident()

    @app.get("/<name>")
    def view(name: str) -> str:
        assert threading.get_ident() != loop_thread
        g.name = name
        variable.set(name)
        barrier.wait(30)
        return request.path

    @app.after_request
    def sign(response: Response) -> Response:
        assert threading.get_ident() == loop_thread
        text = response.get_data(as_text=True)
        response.set_data(f"{text} {g.name} {variable.get()}")
        return response

    paths = [f"/{number}" for number in range(5)]
    expected = [f"{path} {path[1:]} {path[1:]}" for path in paths]
    assert await get_all(app, paths) == expected


async def test_def_views_are_limited() -> None:
    app = ConcurrentFlask(__name__, view_threads=2)
    lock, running, most = threading.Lock(), 0, 0

    @app.get("/<name>")
    def view(name: str) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)

        pair.wait(30)
        with lock:
            running -= 1

        pair.wait(30)
        return name

    pair = threading.Barrier(2)
    assert await get_all(app, ["/1", "/2", "/3", "/4"]) == ["1", "2", "3", "4"]
    assert most == 2


def register_on_blueprint(app: ConcurrentFlask, view: Callable[[], str]) -> None:
    blueprint = Blueprint("part", __name__)
    blueprint.get("/")(view)
    app.register_blueprint(blueprint)


def register_twice(app: ConcurrentFlask, view: Callable[[], str]) -> None:
    app.get("/")(view)
    app.get("/again")(view)


@pytest.mark.parametrize("register", [register_on_blueprint, register_twice])
async def test_every_registration_goes_to_a_thread(
    app: ConcurrentFlask, register: Callable[[Any, Any], None]
) -> None:
    loop_thread = threading.get_ident()

    def view() -> str:
        return str(threading.get_ident() != loop_thread)

    register(app, view)
    assert (await get(app)).text == "True"


async def test_def_view_without_the_bridge(app: ConcurrentFlask) -> None:
    app.add_url_rule("/", view_func=lambda: "plain", endpoint="plain")
    assert app.test_client().get("/").text == "plain"


async def test_async_method_view_stays_on_the_loop(app: ConcurrentFlask) -> None:
    loop_thread = threading.get_ident()

    class View(MethodView):
        async def get(self) -> str:
            return str(threading.get_ident() == loop_thread)

        async def post(self) -> str:
            return ""

    view = View.as_view("view")
    app.add_url_rule("/", view_func=view)
    assert (await get(app)).text == "True"
    assert app.view_functions["view"] is view


async def test_async_function_called_in_a_def_view(app: ConcurrentFlask) -> None:
    async def path() -> str:
        await asyncio.sleep(0)
        return request.path

    @app.get("/here")
    def view() -> str:
        return str(app.ensure_sync(path)())

    assert (await get(app, "/here")).text == "/here"


async def test_async_hooks(app: ConcurrentFlask) -> None:
    calls: list[str] = []

    async def record(name: str) -> None:
        await asyncio.sleep(0)
        calls.append(f"{name} {request.path}")

    @app.before_request
    async def before() -> None:
        await record("before")

    @app.after_request
    async def after(response: Response) -> Response:
        await record("after")
        return response

    @app.teardown_request
    async def teardown(error: BaseException | None) -> None:
        await record("teardown")

    @app.errorhandler(KeyError)
    async def handle(error: KeyError) -> tuple[str, int]:
        await record("handler")
        return "handled", 418

    @app.get("/")
    async def view() -> str:
        raise KeyError

    response = await get(app)
    assert (response.status_code, response.text) == (418, "handled")
    assert calls == ["before /", "handler /", "after /", "teardown /"]


async def test_nested_waits(app: ConcurrentFlask) -> None:
    async def inner() -> str:
        await asyncio.sleep(0)
        return request.path

    def helper() -> str:
        return await_(inner()) + await_(inner())

    @app.get("/x")
    async def view() -> str:
        await asyncio.sleep(0)
        return helper()

    assert (await get(app, "/x")).text == "/x/x"


async def test_error_in_a_view(app: ConcurrentFlask) -> None:
    @app.get("/")
    def view() -> str:
        raise KeyError("broken")

    assert (await get(app)).status_code == 500


async def test_gone_client_cancels_the_view(
    app: ConcurrentFlask, caplog: pytest.LogCaptureFixture
) -> None:
    seen = []

    @app.teardown_request
    def teardown(error: BaseException | None) -> None:
        seen.append(type(error))

    @app.post("/")
    async def view() -> str:
        request.get_data()
        exchange.put(GONE)
        await anyio.sleep_forever()
        raise AssertionError("not cancelled")

    messages = [body_message(b"x", more=True), body_message(b"y")]
    exchange = HandDriven(Bridge(app), messages, method="POST")
    await exchange.run()
    assert seen == [asyncio.CancelledError]
    assert exchange.sent == []
    assert caplog.records == []


async def test_decorated_async_view_stays_on_the_loop(app: ConcurrentFlask) -> None:
    loop_thread = threading.get_ident()

    async def view() -> str:
        return ""

    @app.get("/")
    @functools.wraps(view)
    def decorated() -> str:
        app.ensure_sync(view)()
        return str(threading.get_ident() == loop_thread)

    assert (await get(app)).text == "True"


async def test_gone_client_ends_a_wait_in_a_thread(
    app: ConcurrentFlask, caplog: pytest.LogCaptureFixture
) -> None:
    async def wait() -> None:
        exchange.put(GONE)
        await anyio.sleep_forever()

    @app.get("/")
    def view() -> str:
        app.ensure_sync(wait)()
        raise AssertionError("not cancelled")

    exchange = HandDriven(Bridge(app), [body_message(b"")])
    await exchange.run()
    assert exchange.sent == []
    assert caplog.records == []


def test_without_a_key_sessions_are_empty_and_refuse(app: ConcurrentFlask) -> None:
    with app.test_request_context():
        assert dict(session) == {}
        with pytest.raises(RuntimeError, match="no secret key was set"):
            session["name"] = "value"

        with pytest.raises(RuntimeError, match="no secret key was set"):
            session.permanent = True

        with pytest.raises(RuntimeError, match="no secret key was set"):
            flash("message")

    with app.test_request_context():
        assert dict(session) == {}


def test_without_a_key_no_cookie_is_set(app: ConcurrentFlask) -> None:
    app.add_url_rule("/", view_func=lambda: str(session.get("name")), endpoint="name")
    response = app.test_client().get("/")
    assert response.text == "None"
    assert {"Set-Cookie", "Vary"}.isdisjoint(response.headers.keys())


def test_with_a_key_sessions_are_kept(app: ConcurrentFlask) -> None:
    def count() -> str:
        session["count"] = session.get("count", 0) + 1
        return str(session["count"])

    app.secret_key = "secret"
    app.add_url_rule("/", view_func=count)
    client = app.test_client()
    assert [client.get("/").text for _ in range(3)] == ["1", "2", "3"]
    assert app.test_client().get("/").text == "1"
