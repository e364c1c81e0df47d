"""The URLs of TensorFlow Serving's REST API, and its words for what they don't find.

They follow its `model_servers/http_rest_api_util.cc` and `core/server_core.cc`. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from inference import InvalidRequest, LabelNotFound, ModelNotFound, ModelSpec

if TYPE_CHECKING:
    from inference import InferenceError

MAX_VERSION = 2**63 - 1
MAX_DIGITS = 64  # of a version; more aren't read as a number
SHOWN = 200

_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_POST = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?:classify|regress|predict)"
)
_GET = re.compile(rf"/v1/models/(?P<name>[^/:]+){_VERSION}(?P<metadata>/metadata)?")


def refuse_url(method: str, path: str) -> InferenceError | None:
    """Return the error of a URL that no route takes; `path` is percent-encoded.

    A path of the right form names a model or a label that can't exist here; `None`
    stands for any other.
    """
    found = (_POST if method == "POST" else _GET).fullmatch(path)
    if found is None:
        return None

    version = found["version"]
    if version is not None and (
        len(version) > MAX_DIGITS or int(version) > MAX_VERSION
    ):
        return InvalidRequest(version_too_large(version))

    spec = ModelSpec(
        name=_cut(unquote(found["name"])),
        version=None if version is None else int(version),
        label=None if found["label"] is None else unquote(found["label"]),
    )
    if spec.label is not None:
        return not_found(LabelNotFound(f"no label is called '{spec.label}'"), spec)

    error = ModelNotFound(f"no model is called '{spec.name}'")
    status = method != "POST" and found["metadata"] is None
    return status_not_found(error, spec) if status else not_found(error, spec)


def version_too_large(version: str) -> str:
    return (
        f"Failed to convert version: {_cut(version)} to numeric. The largest is"
        f" {MAX_VERSION}"
    )


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def not_found(error: ModelNotFound, spec: ModelSpec) -> InferenceError:
    """Return `error` as a prediction tells it. An unknown label is invalid."""
    if isinstance(error, LabelNotFound) and spec.label is not None:
        return InvalidRequest(
            f"Unrecognized servable version label: {spec.label}: {error}"
        )

    servable = (
        f"Latest({spec.name})"
        if spec.version is None
        else f"Specific({spec.name}, {spec.version})"
    )
    return type(error)(f"Servable not found for request: {servable}: {error}")


def status_not_found(error: ModelNotFound, spec: ModelSpec) -> InferenceError:
    """Return `error` as the call for the status tells it."""
    if spec.label is not None:
        return not_found(error, spec)

    what = "any versions" if spec.version is None else f"version {spec.version}"
    return type(error)(f"Could not find {what} of model {spec.name}: {error}")
