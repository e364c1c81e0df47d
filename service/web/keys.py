"""The check of API keys, on Flask's way and the direct one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, TooManyRequests, Unauthorized

from service.auth.bearer import bearer_token
from service.bridge.environ import API_KEY
from service.web.accept import prefers_html
from service.web.context import current_request, current_serving

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from flask import Request

    from inference import ModelStatus
    from service.auth.keys import ApiKey, ApiKeys
    from service.bridge.bridge import Receive, Scope, Send
    from service.web.application import ConcurrentFlask

    Application = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADER = "X-API-Key"
WANTED = (
    "this server wants an API key: send it in the header 'Authorization: Bearer KEY' or"
    " 'X-API-Key: KEY'"
)
WRONG = "the API key isn't one of the server's --api-keys-file"
BOTH = "the headers Authorization and X-API-Key name different API keys: send one"

OPEN = frozenset(
    {
        *("health.livez", "health.readyz", "health.startupz"),
        *("v2.show_live", "v2.show_ready"),
        "metrics.metrics",
        # These want the admin token instead.
        *("v2.load_model", "v2.unload_model"),
        # Files of the package: what they show they ask for, with a key that they are
        # given.
        *("page.show_model_page", "page.show_asset"),
        *("openapi.show_page", "openapi.show_asset"),
    }
)
"""Endpoints without a key: probes, metrics, pages, and what has a check of its own."""

PAGE = "index.index"
"""One that is such a page for browsers alone."""

OPEN_BLUEPRINTS = frozenset({"admin"})


def install_keys(app: ConcurrentFlask, keys: ApiKeys) -> None:
    """Let `app` answer nothing but `OPEN` without a key of `keys`."""
    app.before_request(check_request)
    # The direct way asks `admits`, and leaves to Flask what that refuses.
    app.plain_hooks.add(check_request)
    app.keys = keys


def admits(keys: ApiKeys, scope: Scope, model: str | None) -> bool:
    """Count a direct request against its key; return false to have Flask refuse it.

    The scope then has the key, so that Flask counts no request twice.
    """
    if API_KEY in scope:
        return True

    sent = _sent_in(scope["headers"])
    key = None if sent is None else keys.find(sent)
    if key is None or (model is not None and not key.allows(model)) or keys.take(key):
        return False

    scope[API_KEY] = key
    return True


def _sent_in(headers: list[tuple[bytes, bytes]]) -> bytes | None:
    """Return the key in the headers, if there is just one of both."""
    found = [
        bearer_token(value) if name == b"authorization" else value.strip()
        for name, value in headers
        if name in (b"authorization", b"x-api-key")
    ]
    return found[0] if len(found) == 1 else None


def check_request() -> None:
    """Check and count the current request.

    Raise `Unauthorized`, `Forbidden`, `TooManyRequests`.
    """
    this = current_request()
    if _is_open(this):
        return

    if API_KEY not in this.environ:
        this.environ[API_KEY] = _take(current_serving().keys)

    name = (this.view_args or {}).get("name")
    if name is not None:
        check_model(name)


def _is_open(this: Request) -> bool:
    if this.endpoint == PAGE:
        return prefers_html(this)

    return this.endpoint in OPEN or this.blueprint in OPEN_BLUEPRINTS


def _take(keys: ApiKeys | None) -> ApiKey:
    assert keys is not None, "the check is installed with keys"
    key = keys.find(_sent())
    if key is None:
        raise _unauthorized(WRONG, error="invalid_token")

    seconds = keys.take(key)
    if seconds:
        raise TooManyRequests(
            f"the API key {key.name} has used up its {key.rate:g} requests a second",
            retry_after=math.ceil(seconds),
        )

    return key


def _sent() -> bytes:
    headers = current_request().headers
    own = headers.get(HEADER, "").strip().encode("latin-1", "replace")
    bearer = bearer_token(headers.get("Authorization", "").encode("latin-1", "replace"))
    if own and bearer and own != bearer:
        raise _unauthorized(BOTH, error="invalid_request")

    sent = own or bearer
    if not sent:
        raise _unauthorized(WANTED)

    return sent


def _unauthorized(text: str, **why: str) -> Unauthorized:
    challenge = WWWAuthenticate("bearer", {"realm": "Tandem", **why})
    return Unauthorized(text, www_authenticate=challenge)


def current_key() -> ApiKey | None:
    """Return the key of the current request; `None` may do everything."""
    key: ApiKey | None = current_request().environ.get(API_KEY)
    return key


def current_owner() -> str | None:
    """Return the name under which the current request's jobs are kept."""
    key = current_key()
    return None if key is None else key.name


def check_model(name: str) -> None:
    """Raise `Forbidden` if the current request's key may not use a model.

    There may be no such model: the answer doesn't tell.
    """
    key = current_key()
    if key is not None and not key.allows(name):
        raise Forbidden(f"the API key {key.name} isn't for the model '{name}'")


def check_all_models() -> None:
    """Raise `Forbidden` if the current request's key is for some models only."""
    key = current_key()
    if key is not None and key.models is not None:
        raise Forbidden(
            f"the API key {key.name} is for some models, and this shows all of them"
        )


def allowed(models: Iterable[ModelStatus]) -> list[ModelStatus]:
    """Return those of `models` that the current request's key may use."""
    key = current_key()
    return [each for each in models if key is None or key.allows(each.id.name)]


def trusted(application: Application) -> Application:
    """Return `application` for calls of the server's own, which need no key."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        own: dict[str, Any] = {**scope, API_KEY: None}
        await application(own, receive, send)

    return call
