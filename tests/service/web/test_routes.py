from __future__ import annotations

import pytest

from service.web.routes import MAX_ROUTES, Routes
from tests.support.clients import make_app
from tests.support.fakes import FakeEngine, FakeModel

VERSION = "/versions/<version:version>"


@pytest.fixture(scope="module")
def routes() -> Routes:
    return Routes(make_app(FakeEngine(FakeModel())))


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("/v1/models/a:predict", "/v1/models/<model:name>:predict"),
        (
            "/v1/models/a/versions/2:predict",
            f"/v1/models/<model:name>{VERSION}:predict",
        ),
        (
            "/v1/models/a:classify",
            "/v1/models/<model:name>:<any(classify, regress):method>",
        ),
        ("/v2/models/a/infer", "/v2/models/<model:name>/infer"),
    ],
)
def test_predictions(routes: Routes, path: str, rule: str) -> None:
    found = routes.find("POST", path)

    assert found is not None
    assert (found.rule, found.model, found.predicts) == (rule, "a", True)
    assert not found.probe


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/startupz", "/metrics"])
@pytest.mark.parametrize("also", ["/v2/health/live", "/v2/models/a/ready"])
def test_probes(routes: Routes, path: str, also: str) -> None:
    for each in (path, also):
        found = routes.find("GET", each)
        assert found is not None
        assert found.probe


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/models/a:predict"), ("POST", "/nowhere"), ("GET", "")],
)
def test_unknown_path_has_no_route(routes: Routes, method: str, path: str) -> None:
    assert routes.find(method, path) is None


def test_paths_that_clients_make_up_are_not_kept_for_ever() -> None:
    routes = Routes(make_app(FakeEngine(FakeModel())))

    for number in range(MAX_ROUTES + 10):
        routes.find("GET", f"/v1/models/{number}")

    routes.find("GET", "/" + "x" * 100_000)
    assert len(routes._known) == 10
