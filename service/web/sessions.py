"""Flask's sessions, at no cost to applications that have none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask.sessions import NullSession, SecureCookieSessionInterface

if TYPE_CHECKING:
    from flask import Flask, Request
    from flask.sessions import SecureCookieSession


class OptionalSessions(SecureCookieSessionInterface):
    """Flask's own where there is a secret key, else one null session for all requests.

    Nothing can be put into a null session: that raises Flask's error, which names the
    missing key. Flask makes one for each request: 2 µs.
    """

    def __init__(self) -> None:
        self._null = NullSession()

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        return super().open_session(app, request) if app.secret_key else self._null
