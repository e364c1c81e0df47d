"""Predictions past Flask's dispatch: answered as through it, and only when plain."""

from __future__ import annotations

import functools
import gc
import json
import math
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from flask import Blueprint, signals
from structlog.testing import capture_logs

from inference import ModelSpec, background_calls
from service.bridge.bridge import Bridge
from service.routes import tfserving
from service.telemetry.requests import MAX_NOTED
from service.web.application import ConcurrentFlask
from tests.support import shelf
from tests.support.predict_requests import (
    BAD,
    GOOD,
    HEADERS,
    ONE_ROW,
    OPTIONED,
    PATH,
    PATHS,
    comparable,
    scope_of,
)
from tests.support.servers import GONE, HandDriven, body_message

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


async def ask(
    app: ConcurrentFlask,
    body: bytes = ONE_ROW,
    path: str = PATH,
    headers: dict[str, str] | None = None,
    **scope: Any,
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body.

    A made request id is left out, and how long each part took.
    """
    headers = headers or {}
    whole = scope_of(path, headers, body) | scope
    driven = HandDriven(Bridge(app), [body_message(body)], **whole)
    await driven.run()
    start = driven.sent[0]
    found = {k.decode().lower(): v.decode() for k, v in start["headers"]}
    assert len(found) == len(start["headers"])
    return start["status"], comparable(found, headers), driven.body


class Counting(ConcurrentFlask):
    """Would count requests, but a subclass is never passed over."""


async def test_both_ways_answer_alike(
    make: Callable[..., Any], through_flask: list[str]
) -> None:
    requests: list[tuple[bytes, str, dict[str, str]]]
    requests = [(body, PATH, {}) for body in (*GOOD, *OPTIONED, *BAD)]
    requests += [(ONE_ROW, path, {}) for path in PATHS]
    requests += [(ONE_ROW, PATH, headers) for headers in HEADERS]
    requests += [(body, PATHS[1], HEADERS[6]) for body in (*GOOD, *BAD)]

    async with make(max_body_bytes=50_000) as (app, _):
        for body, path, headers in requests:
            app.dispatches_otherwise = False
            first = await ask(app, body, path, headers)
            again = await ask(app, body, path, headers)
            app.dispatches_otherwise = True
            assert first == again == await ask(app, body, path, headers), body


LIMITED = [
    pytest.param(b'{"instances": [[1.5]]}', 20, id="short"),
    pytest.param(b'{"instances": [%b[1.5]]}' % (b"[1.5]," * 9999), 20, id="surely"),
    pytest.param(b'{"instances": [%b[1.5]]}' % (b"[1.5]," * 9999), 20_001, id="late"),
]


@pytest.mark.parametrize(("body", "limit"), LIMITED)
async def test_both_ways_refuse_long_answers(
    make: Callable[..., Any], body: bytes, limit: int
) -> None:
    async with make(max_answer_bytes=limit) as (app, _):
        first = await ask(app, body)
        app.dispatches_otherwise = True
        assert first == await ask(app, body)

    assert first[0] == 400
    text = json.loads(first[2])["error"]
    assert f"the answer is over the limit of {limit} bytes" in text
    assert "raise the limit with --max-answer-bytes" in text


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
async def test_rows_with_a_key_pass_flask(
    make: Callable[..., Any], through_flask: list[str], keys_file: Path, header: str
) -> None:
    scheme = "Bearer " if header == "authorization" else ""
    async with make(api_keys_file=keys_file) as (app, _):
        sent = {header: f"{scheme}for-every-model"}
        for _ in range(3):
            status, _, _ = await ask(app, headers=sent)
            assert status == 200

        assert through_flask == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 401, id="no key"),
        pytest.param({"x-api-key": "for-every-mode"}, 401, id="a wrong key"),
        pytest.param({"x-api-key": "for-other-models"}, 403, id="another model"),
    ],
)
async def test_rows_without_a_right_key_are_refused(
    make: Callable[..., Any], keys_file: Path, headers: dict[str, str], status: int
) -> None:
    async with make(api_keys_file=keys_file) as (app, _):
        # The first request finds the direct view, the second has it.
        for _ in range(2):
            refused, _, body = await ask(app, headers=headers)
            assert refused == status
            assert b"API key" in body


@pytest.mark.parametrize(
    "body", [ONE_ROW, OPTIONED[0]], ids=["direct", "left to Flask"]
)
async def test_a_request_counts_once_against_a_quota(
    make: Callable[..., Any], keys_file: Path, body: bytes
) -> None:
    async with make(api_keys_file=keys_file) as (app, _):
        headers = {"x-api-key": "for-one-request-"}
        first, _, _ = await ask(app, body, headers=headers)
        second, told, _ = await ask(app, body, headers=headers)

    assert (first, second) == (200, 429)
    assert int(told["retry-after"]) > 0


@pytest.mark.parametrize("path", PATHS[:2])
async def test_plain_rows_pass_flask(
    make: Callable[..., Any], through_flask: list[str], path: str
) -> None:
    async with make() as (app, _):
        for body in GOOD[:4]:
            status, headers, answer = await ask(app, body, path)
            assert (status, headers["content-type"]) == (200, "application/json")
            assert headers["x-model-version"] == "1"
            assert headers["server-timing"] == (
                "queue;dur=, decode;dur=, compute;dur=, encode;dur="
            )
            assert json.loads(answer)["predictions"]

        assert through_flask == []


@pytest.mark.parametrize("body", [*OPTIONED, *BAD])
async def test_other_bodies_go_through_flask(
    make: Callable[..., Any], through_flask: list[str], body: bytes
) -> None:
    refused_by_model = body in (b'{"instances": [[-2]]}', b'{"instances": [[666]]}')

    async with make() as (app, _):
        await ask(app, body)
        assert through_flask == ([] if refused_by_model else [PATH])


async def test_a_prefix_of_all_urls_takes_the_direct_way(
    make: Callable[..., Any], through_flask: list[str]
) -> None:
    async with make() as (app, _):
        status, _, _ = await ask(app, root_path="/prefix")

    assert (status, through_flask) == (200, [])


@pytest.mark.parametrize(
    "scope",
    [
        {"query_string": b"a=1"},
        {"root_path": "/v1"},
        {"method": "GET"},
        {"raw_path": None},
    ],
)
async def test_special_scopes_go_through_flask(
    make: Callable[..., Any], through_flask: list[str], scope: dict[str, Any]
) -> None:
    async with make() as (app, _):
        await ask(app, **scope)
        assert len(through_flask) == 1


async def test_body_in_two_messages_goes_through_flask(
    make: Callable[..., Any], through_flask: list[str]
) -> None:
    async with make() as (app, _):
        parts = [body_message(ONE_ROW[:9], more=True), body_message(ONE_ROW[9:])]
        driven = HandDriven(Bridge(app), parts, **scope_of(PATH, {}, ONE_ROW))
        await driven.run()

        assert (driven.status, through_flask) == (200, [PATH])


def before(app: ConcurrentFlask) -> None:
    app.before_request(lambda: None)


def after(app: ConcurrentFlask) -> None:
    app.after_request(lambda response: response)


def teardown(app: ConcurrentFlask) -> None:
    app.teardown_request(lambda error: None)


def context_teardown(app: ConcurrentFlask) -> None:
    app.teardown_appcontext(lambda error: None)


def preprocessor(app: ConcurrentFlask) -> None:
    app.url_value_preprocessor(lambda endpoint, values: None)


def in_blueprint(app: ConcurrentFlask) -> None:
    app.before_request_funcs.setdefault("tfserving", []).append(lambda: None)


def around_view(app: ConcurrentFlask) -> None:
    view: Callable[..., Any] = app.view_functions["tfserving.predict_model"]

    @functools.wraps(view)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        return await view(*args, **kwargs)

    app.view_functions["tfserving.predict_model"] = guarded


def handler(app: ConcurrentFlask) -> None:
    app.register_error_handler(LookupError, lambda error: "lost")


def wrapped(app: ConcurrentFlask) -> None:
    inner = app.wsgi_app
    app.wsgi_app = lambda *args: inner(*args)  # type: ignore[method-assign]


def hosts(app: ConcurrentFlask) -> None:
    app.config["TRUSTED_HOSTS"] = ["tandem"]


@pytest.mark.parametrize(
    "change",
    [
        before,
        after,
        teardown,
        context_teardown,
        preprocessor,
        in_blueprint,
        around_view,
        handler,
        wrapped,
        hosts,
    ],
)
async def test_application_with_hooks_of_its_own_is_never_passed_over(
    make: Callable[..., Any],
    through_flask: list[str],
    change: Callable[[ConcurrentFlask], None],
) -> None:
    async with make() as (app, _):
        change(app)
        assert (await ask(app))[0] == 200
        assert through_flask == [PATH]


async def test_hooks_of_an_outer_blueprint_count(
    make: Callable[..., Any], through_flask: list[str]
) -> None:
    outer = Blueprint("outer", __name__, url_prefix="/outer")
    outer.before_request(lambda: None)
    outer.register_blueprint(tfserving.bp)
    path = "/outer" + PATH

    async with make() as (app, _):
        app.register_blueprint(outer)
        assert (await ask(app, path=path))[0] == 200
        assert through_flask == [path]


async def test_a_subclass_is_never_passed_over(
    make: Callable[..., Any], through_flask: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.app.ConcurrentFlask", Counting)

    async with make() as (app, _):
        assert (await ask(app))[0] == 200
        assert through_flask == [PATH]


async def test_hooks_of_another_blueprint_do_not_count(
    make: Callable[..., Any], through_flask: list[str]
) -> None:
    other = Blueprint("other", __name__)
    other.before_request(lambda: None)

    async with make() as (app, _):
        app.register_blueprint(other)
        assert (await ask(app))[0] == 200
        assert through_flask == []


async def test_receiver_of_a_signal_hears_every_request(
    make: Callable[..., Any], through_flask: list[str]
) -> None:
    heard: list[object] = []

    def hear(sender: object, **_: object) -> None:
        heard.append(sender)

    async with make() as (app, _):
        await ask(app)

        with signals.request_started.connected_to(hear):
            await ask(app)

        await ask(app)
        assert (heard, through_flask) == ([app], [PATH])


async def test_a_route_wrapped_late_goes_through_the_wrapper(
    make: Callable[..., Any], through_flask: list[str]
) -> None:
    async with make() as (app, _):
        await ask(app)
        wrapped(app)
        await ask(app)
        assert through_flask == [PATH]


async def test_hooks_are_refused_after_a_direct_answer(
    make: Callable[..., Any],
) -> None:
    async with make() as (app, _):
        await ask(app)

        with pytest.raises(AssertionError, match="setup method"):
            before(app)


async def test_request_ends_when_its_client_has_gone(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make() as (app, loader):
        await ask(app)
        servable = loader.latest("a")
        servable._allowed = 1
        driven = HandDriven(Bridge(app), [body_message(ONE_ROW)])
        driven.scope |= scope_of(PATH, {}, ONE_ROW)
        engine = app.extensions["serving"].engine

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(driven.run)
            await servable.until_ran(2)
            driven.put(GONE)

            with anyio.fail_after(30):
                while engine.models()[0].queue.orphans != 1:
                    await anyio.lowlevel.checkpoint()

            servable.let_through()

        assert driven.sent == []


class Held:
    """The objects that a scope refers to."""


async def test_nothing_of_an_answered_request_is_kept(
    make: Callable[..., Any],
) -> None:
    async with make() as (app, _):
        held = Held()
        left = weakref.ref(held)
        gc.disable()

        try:
            await ask(app, held=held)
            del held
            assert left() is None
        finally:
            gc.enable()


async def test_cancelled_from_outside_it_stays_cancelled(
    make: Callable[..., Any],
) -> None:
    async with make() as (app, loader):
        await ask(app)
        servable = loader.latest("a")
        servable._allowed = 1
        driven = HandDriven(Bridge(app), [body_message(ONE_ROW)])
        driven.scope |= scope_of(PATH, {}, ONE_ROW)

        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(driven.run)
                await servable.until_ran(2)
                scope.cancel()

        assert scope.cancelled_caught
        assert driven.sent == []
        servable.let_through()


async def test_unloaded_model_is_refused_both_ways(make: Callable[..., Any]) -> None:
    async with make() as (app, _):
        engine = app.extensions["serving"].engine
        await ask(app)
        await engine.unload(ModelSpec(name="a"))
        refused = await ask(app)
        app.dispatches_otherwise = True

        assert refused == await ask(app)
        assert refused[0] == 503


async def test_both_ways_count_alike(make: Callable[..., Any]) -> None:
    def counted(app: ConcurrentFlask) -> Any:
        figures = app.extensions["serving"].requests.figures()
        times = figures["tandem_request_duration_seconds"].items()
        return (
            figures["tandem_requests"],
            figures["tandem_request_body_bytes"],
            {labels: sum(each.counts) for labels, each in times},
        )

    found = []
    for through_flask in (False, True):
        async with make() as (app, _):
            app.dispatches_otherwise = through_flask
            for body in (ONE_ROW, ONE_ROW, BAD[0]):
                await ask(app, body)

            await ask(app, ONE_ROW, "/v1/models/a/versions/7:predict")
            await ask(app, ONE_ROW, "/v1/models/b:predict")
            found.append(counted(app))

    assert found[0] == found[1]
    assert found[0][0] == {
        ("a", "1", "v1", "200"): 2,
        ("a", "1", "v1", "400"): 1,
        ("a", "", "v1", "404"): 1,
        ("", "", "v1", "404"): 1,
    }


@pytest.mark.parametrize("through_flask", [False, True])
@pytest.mark.parametrize(
    ("body", "flags", "traced"),
    [
        pytest.param(ONE_ROW, "01", True, id="recorded"),
        pytest.param(ONE_ROW, "00", False, id="not recorded"),
        pytest.param(BAD[0], "01", False, id="refused"),
    ],
)
async def test_recorded_trace_becomes_an_exemplar(
    make: Callable[..., Any],
    body: bytes,
    flags: str,
    traced: bool,
    through_flask: bool,
) -> None:
    parent = f"00-{'a' * 32}-{'b' * 16}-{flags}"

    async with make() as (app, _):
        app.dispatches_otherwise = through_flask
        await ask(app, body, headers={"traceparent": parent})
        figures = app.extensions["serving"].requests.figures()

    found = figures["tandem_request_duration_seconds"]["a", "1", "v1"]
    traces = [each.trace_id for each in found.exemplars.values()]
    assert traces == (["a" * 32] if traced else [])


@pytest.mark.parametrize("through_flask", [False, True])
@pytest.mark.parametrize(
    ("parent", "fields"),
    [
        pytest.param(
            f"00-{'a' * 32}-{'b' * 16}-00", {"trace_id": "a" * 32}, id="valid"
        ),
        pytest.param("00-a-b-00", {}, id="not valid"),
    ],
)
async def test_a_trace_is_logged(
    make: Callable[..., Any], parent: str, fields: dict[str, str], through_flask: bool
) -> None:
    async with make() as (app, _):
        app.dispatches_otherwise = through_flask
        with capture_logs() as lines:
            await ask(app, ONE_ROW, headers={"traceparent": parent})

    [line] = [each for each in lines if each["event"] == "request"]
    assert {key: line[key] for key in line if key == "trace_id"} == fields


async def test_requests_that_are_refused_directly_are_counted(
    make: Callable[..., Any],
    through_flask: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shelf, "LIMITS", replace(shelf.LIMITS, timeout_seconds=0.01))
    async with make() as (app, loader):
        loader.latest("a")._allowed = 0
        status, _, _ = await ask(app)
        loader.latest("a").let_through()
        counters = app.extensions["serving"].requests

        assert through_flask == []
        assert status == 504
        assert counters.figures()["tandem_refusals"]["deadline", "a"] == 1


async def test_many_requests_are_counted_before_anybody_looks(
    make: Callable[..., Any],
) -> None:
    async with make() as (app, _):
        for _ in range(MAX_NOTED + 1):
            await ask(app)

        counters = app.extensions["serving"].requests
        assert len(counters.noted) == 1
        assert counters.sources["a", 1, "v1"].statuses == {200: MAX_NOTED}


async def test_limit_on_queues_holds_after_a_reload(make: Callable[..., Any]) -> None:
    async with make() as (app, loader):
        engine = app.extensions["serving"].engine
        assert (await ask(app))[0] == 200
        engine.limit_queues(0)
        await engine.unload(ModelSpec(name="a"))
        await engine.load(ModelSpec(name="a"))
        loader.latest("a")._allowed = 0

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, app)
            await loader.latest("a").until_ran(1)
            status, _, text = await ask(app)
            loader.latest("a").let_through()

        assert status == 429
        assert b"the limit is 0" in text
        assert loader.limits.max_queue == 0


async def test_work_in_the_background_learns_of_a_call(
    make: Callable[..., Any],
) -> None:
    """Large work gives way to it; a call of its own is none to give way to."""
    async with make() as (app, _):
        engine = app.extensions["serving"].engine
        assert engine.quiet_seconds() == math.inf

        with background_calls():
            await ask(app)

        assert engine.quiet_seconds() == math.inf
        await ask(app)
        assert engine.quiet_seconds() < math.inf
