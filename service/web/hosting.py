"""A hosting platform's URLs, answered by those of the server itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import quote

from service.settings.hosting import serves_many
from service.web.response import readable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from inference import Engine
    from service.bridge.bridge import Receive, Scope, Send

    Application = Callable[[Scope, Receive, Send], Awaitable[None]]
    Target = Callable[[Scope], str | None]

READY = "/readyz"
SAGEMAKER = "/sagemaker/models"
"""The models of a multi-model endpoint; `/models/{m}` is a page for people."""

ATTRIBUTES = b"x-amzn-sagemaker-custom-attributes"
METHODS = ("predict", "classify", "regress")


class NoModel(Exception):
    """The platform's URL names no model, and it can't be told which is meant."""


class Hosted:
    """Serves `application` at a platform's URLs, too, by the paths of `target`."""

    # In front of Flask: jobs, logs, metrics and the direct way see URLs of ours.

    def __init__(self, application: Application, target: Target) -> None:
        self._application = application
        self._target = target

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            path = self._target(scope) if scope["type"] == "http" else None
        except NoModel as exc:
            await _refuse(send, str(exc))
            return

        if path is not None:
            scope = {**scope, "path": path, "raw_path": quote(path, safe="/:").encode()}

        await self._application(scope, receive, send)


def sagemaker(default_model: Callable[[], str]) -> Target:
    """Return the targets of SageMaker's URLs: `/ping`, `/invocations`.

    For a multi-model endpoint `/models/{m}/invoke`, too. The custom attributes of
    SageMaker's TensorFlow containers may name another model, a version, the method.
    """
    many = serves_many(os.environ)

    def target(scope: Scope) -> str | None:
        method: str = scope["method"]
        path: str = scope["path"]
        if path == "/ping" and method in ("GET", "HEAD"):
            return READY

        parts = path.split("/")
        if many and parts[1] == "models" and len(parts) <= 3:
            return SAGEMAKER + path.removeprefix("/models")

        if method != "POST":
            return None

        wanted = attributes(dict(scope["headers"]).get(ATTRIBUTES, b""))
        if path == "/invocations":
            return predict_path(wanted.get("tfs-model-name") or default_model(), wanted)

        if many and len(parts) == 4 and (parts[1], parts[3]) == ("models", "invoke"):
            return predict_path(parts[2], wanted)

        return None

    return target


def vertex(default_model: Callable[[], str], environ: Mapping[str, str]) -> Target:
    """Return the targets of the URLs that Vertex AI names in `environ`."""
    health = environ.get("AIP_HEALTH_ROUTE", "")
    predict = environ.get("AIP_PREDICT_ROUTE", "")

    def target(scope: Scope) -> str | None:
        method: str = scope["method"]
        path: str = scope["path"]
        if path == health and method in ("GET", "HEAD"):
            return READY

        if path == predict and method == "POST":
            return predict_path(default_model(), {})

        return None

    return target


def default_model(engine: Engine, name: str | None) -> Callable[[], str]:
    """Return what gives `name`, or else the only model's. It raises `NoModel`."""

    def find() -> str:
        names = [name] if name else sorted({each.id.name for each in engine.models()})
        if len(names) == 1:
            return names[0]

        found = ", ".join(names) if names else "none"
        raise NoModel(
            f"This URL is for one model, and the server has {found}. Name the one that "
            "is meant with --platform-model, or serve a folder of that one alone."
        )

    return find


def attributes(text: bytes) -> dict[str, str]:
    """Parse custom attributes such as `tfs-model-name=a,tfs-method=classify`."""
    pairs = [each.partition("=") for each in text.decode("latin-1").split(",")]
    return {key.strip(): value.strip() for key, _, value in pairs}


def predict_path(model: str, wanted: Mapping[str, str]) -> str:
    version, method = wanted.get("tfs-model-version"), wanted.get("tfs-method", "")
    place = f"/versions/{version}" if version else ""
    return f"/v1/models/{model}{place}:{method if method in METHODS else METHODS[0]}"


async def _refuse(send: Send, text: str) -> None:
    body = readable({"error": text})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
    ]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": body})
