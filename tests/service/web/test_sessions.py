from __future__ import annotations

import pytest
from flask import flash, session

from service.web.application import ConcurrentFlask


@pytest.fixture
def app() -> ConcurrentFlask:
    return ConcurrentFlask(__name__)


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
