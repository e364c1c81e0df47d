from __future__ import annotations

import pytest
from werkzeug.exceptions import NotFound
from werkzeug.routing import Map, Rule

from service.web.urls import list_urls, register_converters


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
        pytest.param("/v/007", {"number": 7}, id="version"),
        pytest.param("/v/" + "9" * 19, {"number": 10**19 - 1}, id="a long version"),
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


def test_list_urls_of_the_operator_too(url_map: Map) -> None:
    listed = list_urls(url_map, admin=True)

    assert set(listed) - set(list_urls(url_map)) == {"POST /v1/admin/rescan"}
