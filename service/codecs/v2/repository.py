"""The model repository extension: its index, and the bodies of its calls. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference import InvalidRequest, ModelState
from service.codecs.json.values import parse, show

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inference import ModelStatus

READY, UNAVAILABLE = "READY", "UNAVAILABLE"

_STATES = {
    ModelState.START: "LOADING",
    ModelState.LOADING: "LOADING",
    ModelState.AVAILABLE: READY,
    ModelState.UNLOADING: "UNLOADING",
    ModelState.END: UNAVAILABLE,
}


def index_document(
    statuses: Iterable[ModelStatus], *, ready: bool
) -> list[dict[str, str]]:
    """Return an entry for each version, for those that answer alone if `ready`."""
    entries = map(_entry, statuses)
    return [each for each in entries if not ready or each["state"] == READY]


def wants_ready(body: bytes) -> bool:
    """Decode the body of an index call: empty, or `{"ready": true}`.

    Raise `InvalidRequest`.
    """
    ready = _document(body, '{"ready": true}').get("ready", False)
    if type(ready) is not bool:
        raise InvalidRequest(f"'ready' must be true or false, got {show(ready)}")

    return ready


def check_load(body: bytes) -> None:
    """Check the body of a call that loads: models come from the repository alone.

    Raise `InvalidRequest`.
    """
    for key in _parameters(body):
        if key == "config" or key.startswith("file:"):
            raise InvalidRequest(
                f"the parameter '{key[:80]}' isn't supported: put the model's files "
                "and its sidecar into the server's repository, and load it without "
                "parameters"
            )


def check_unload(body: bytes) -> None:
    """Check the body of a call that unloads. Raise `InvalidRequest`."""
    dependents = _parameters(body).get("unload_dependents", False)
    if type(dependents) is not bool:
        raise InvalidRequest(
            f"'unload_dependents' must be true or false, got {show(dependents)}"
        )


def _entry(status: ModelStatus) -> dict[str, str]:
    state = _STATES[status.state]
    reason = status.error or status.update_error or ""
    if state == UNAVAILABLE and not reason:
        reason = "unloaded"

    return {
        "name": status.id.name,
        "version": str(status.id.version),
        "state": state,
        "reason": reason,
    }


def _parameters(body: bytes) -> dict[str, Any]:
    parameters = _document(body, '{"parameters": {}}').get("parameters") or {}
    if type(parameters) is not dict:
        raise InvalidRequest(f"'parameters' must be an object, got {show(parameters)}")

    return parameters


def _document(body: bytes, example: str) -> dict[str, Any]:
    if not body.strip():
        return {}

    document = parse(body)
    if type(document) is not dict:
        raise InvalidRequest(
            f"the body must be a JSON object, got {show(document)}: send {example}"
        )

    return document
