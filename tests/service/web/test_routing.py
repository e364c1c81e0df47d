from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.exceptions import MethodNotAllowed, NotFound, SecurityError
from werkzeug.routing import BaseConverter, Map, RequestRedirect, Rule
from werkzeug.test import create_environ

from service.web.application import ConcurrentFlask
from service.web.routing import (
    MAX_ADAPTERS,
    MAX_KEY_CHARS,
    CachingMap,
    list_urls,
    register_converters,
    request_key,
)

if TYPE_CHECKING:
    from flask import Flask


class Looked(BaseConverter):
    """A converter whose values change."""

    calls = 0

    def to_python(self, value: str) -> str:
        Looked.calls += 1
        return f"{value}{Looked.calls}"


class Repeated(BaseConverter):
    cacheable = True

    def to_python(self, value: str) -> list[str]:
        return [value]


@pytest.fixture
def app() -> ConcurrentFlask:
    app = ConcurrentFlask(__name__)
    app.add_url_rule("/<name>", "name", lambda name: name)
    app.add_url_rule("/folder/", "folder", lambda: "")
    return app


def match(app: Flask, path: str = "/a", **environ: Any) -> Any:
    """Match the request as Flask does; return the endpoint and its arguments."""
    context = app.request_context(create_environ(path, **environ))
    try:
        assert context.url_adapter is not None
        rule, values = context.url_adapter.match(return_rule=True)
        return rule.endpoint, values
    finally:
        del context.request.environ["werkzeug.request"]


def known(app: ConcurrentFlask, path: str = "/a", **environ: Any) -> bool:
    return app.url_map.lookup(create_environ(path, **environ)) is not None


def test_a_match_is_cached(app: ConcurrentFlask) -> None:
    assert not known(app)
    assert match(app) == match(app) == ("name", {"name": "a"})
    assert known(app)


def test_arguments_belong_to_the_request(app: ConcurrentFlask) -> None:
    for _ in range(3):
        _, values = match(app)
        assert values == {"name": "a"}
        values["more"] = 1


@pytest.mark.parametrize(
    ("path", "method", "error"),
    [
        pytest.param("/a/b", "GET", NotFound, id="not found"),
        pytest.param("/a", "PUT", MethodNotAllowed, id="method"),
        pytest.param("/folder", "GET", RequestRedirect, id="redirect"),
    ],
)
def test_errors_are_not_cached(
    app: ConcurrentFlask, path: str, method: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        match(app, path, method=method)

    assert not known(app, path, method=method)


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({"method": "HEAD"}, id="method"),
        pytest.param({"path": "/b"}, id="path"),
        pytest.param({"base_url": "http://other"}, id="host"),
        pytest.param({"base_url": "http://localhost/root"}, id="root"),
        pytest.param({"base_url": "https://localhost"}, id="scheme"),
        pytest.param({"query_string": "a=1"}, id="query"),
        pytest.param({"headers": {"Upgrade": "websocket"}}, id="upgrade"),
    ],
)
def test_different_requests_are_told_apart(app: ConcurrentFlask, environ: Any) -> None:
    match(app)
    assert not known(app, **environ)


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({"query_string": "a=1"}, id="query"),
        pytest.param({"headers": {"Upgrade": "websocket"}}, id="upgrade"),
        pytest.param({"path": f"/{'a' * MAX_KEY_CHARS}"}, id="long"),
    ],
)
def test_unusual_requests_are_not_cached(app: ConcurrentFlask, environ: Any) -> None:
    match(app, **environ)
    assert not known(app, **environ)


def test_without_a_host_nothing_is_cached(app: ConcurrentFlask) -> None:
    environ = create_environ("/a")
    del environ["HTTP_HOST"]
    for _ in range(2):
        adapter = app.request_context(environ).url_adapter
        assert adapter is not None
        assert adapter.match() == ("name", {"name": "a"})

    assert request_key(environ) is None


def test_a_new_rule_clears_the_cache(app: ConcurrentFlask) -> None:
    match(app)
    app.url_map.add(Rule("/a", endpoint="new"))
    assert not known(app)
    assert match(app) == ("new", {})


def test_the_cache_is_bounded(app: ConcurrentFlask) -> None:
    for number in range(MAX_ADAPTERS + 1):
        match(app, f"/{number}")

    assert [known(app, f"/{n}") for n in (0, MAX_ADAPTERS)] == [False, True]


def test_custom_converters_are_not_cached(app: ConcurrentFlask) -> None:
    app.url_map.converters["looked"] = Looked
    app.add_url_rule("/looked/<looked:value>", "looked")
    first, second = (match(app, "/looked/x") for _ in range(2))
    assert first != second


def test_mutable_values_are_new_each_time(app: ConcurrentFlask) -> None:
    app.url_map.converters["repeated"] = Repeated
    app.add_url_rule("/repeated/<repeated:value>", "repeated")
    for _ in range(2):
        _, values = match(app, "/repeated/x")
        assert values == {"value": ["x"]}
        values["value"].append("y")


def test_other_matches_are_not_cached(app: ConcurrentFlask) -> None:
    match(app)
    adapter = app.url_map.lookup(create_environ("/a"))
    assert adapter is not None
    assert adapter.match("/folder/") == ("folder", {})
    assert set(adapter.allowed_methods()) == {"GET", "HEAD", "OPTIONS"}
    assert adapter.build("name", {"name": "b"}) == "/b"


def test_builders_are_compiled_with_the_first_url(
    app: ConcurrentFlask, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[bool] = []
    compile_builder = Rule._compile_builder

    def counted(self: Rule, append_unknown: bool = True) -> Any:
        compiled.append(append_unknown)
        return compile_builder(self, append_unknown)

    monkeypatch.setattr(Rule, "_compile_builder", counted)
    app.add_url_rule("/late/<rule>", "late")
    adapter = app.url_map.bind("tandem")
    assert compiled == []

    for _ in range(2):
        assert adapter.build("late", {"rule": "ä", "q": "1"}) == "/late/%C3%A4?q=1"
        assert adapter.build("late", {"rule": "b"}, append_unknown=False) == "/late/b"

    assert compiled == [True, False]


def test_trusted_hosts_are_checked_each_time(app: ConcurrentFlask) -> None:
    match(app)
    app.config["TRUSTED_HOSTS"] = ["other"]
    context = app.request_context(create_environ("/a"))
    assert isinstance(context.request.routing_exception, SecurityError)


def test_the_map_is_used(app: ConcurrentFlask) -> None:
    assert isinstance(app.url_map, CachingMap)


@pytest.fixture
def url_map() -> Map:
    url_map = Map()
    register_converters(url_map)
    url_map.add(Rule("/m/<model:name>", endpoint="status", methods=["GET"]))
    url_map.add(Rule("/m/<model:name>:predict", endpoint="call", methods=["POST"]))
    url_map.add(Rule("/v/<version:number>", endpoint="version", methods=["GET"]))
    url_map.add(Rule("/l/<label:label>", endpoint="label", methods=["GET"]))
    url_map.add(Rule("/v1/admin/rescan", endpoint="rescan", methods=["POST"]))
    return url_map


@pytest.mark.parametrize(
    ("path", "values"),
    [
        pytest.param("/m/a", {"name": "a"}, id="a letter"),
        pytest.param("/m/Flowers-v2.1_x", {"name": "Flowers-v2.1_x"}, id="all kinds"),
        pytest.param("/m/" + "a" * 128, {"name": "a" * 128}, id="the longest"),
        pytest.param("/l/canary.2_x-y", {"label": "canary.2_x-y"}, id="a label"),
        pytest.param("/l/" + "a" * 64, {"label": "a" * 64}, id="the longest label"),
        pytest.param("/v/700", {"number": 700}, id="version"),
        pytest.param(f"/v/{2**63 - 1}", {"number": 2**63 - 1}, id="a long version"),
    ],
)
def test_matches(url_map: Map, path: str, values: dict[str, object]) -> None:
    _, found = url_map.bind("host").match(path)

    assert found == values


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/m/" + "a" * 129, id="too long"),
        pytest.param("/m/.hidden", id="a dot first"),
        pytest.param("/m/a:b", id="a colon"),
        pytest.param("/m/a/b", id="a slash"),
        pytest.param("/m/a b", id="a space"),
        pytest.param("/m/a\n", id="a newline"),
        pytest.param("/m/é", id="a letter outside ASCII"),
        pytest.param("/l/" + "a" * 65, id="a label that is too long"),
        pytest.param("/l/1st", id="a label with a digit first"),
        pytest.param("/l/a\n", id="a label with a newline"),
        pytest.param("/v/x", id="a version of letters"),
        pytest.param("/v/-1", id="a negative version"),
        pytest.param("/v/007", id="a version with leading zeros"),
        pytest.param("/v/00", id="zeros"),
        pytest.param("/v/٣", id="digits outside ASCII"),
        pytest.param("/v/" + "9" * 5000, id="more digits than int() takes"),
    ],
)
def test_refusals(url_map: Map, path: str) -> None:
    with pytest.raises(NotFound):
        url_map.bind("host").match(path)


def test_a_verb_is_not_part_of_the_name(url_map: Map) -> None:
    endpoint, values = url_map.bind("host").match("/m/a:predict", method="POST")

    assert (endpoint, values) == ("call", {"name": "a"})


def test_list_urls(url_map: Map) -> None:
    assert list_urls(url_map) == [
        "GET /l/<label>",
        "GET /m/<name>",
        "POST /m/<name>:predict",
        "GET /v/<number>",
    ]


def test_list_urls_with_admin_calls(url_map: Map) -> None:
    listed = list_urls(url_map, admin=True)

    assert set(listed) - set(list_urls(url_map)) == {"POST /v1/admin/rescan"}
