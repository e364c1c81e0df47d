"""Model states as JSON: TensorFlow Serving's status, and our own lists. Pure."""

from __future__ import annotations

import itertools
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from inference import ModelState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inference import ModelStatus


def status_document(versions: Iterable[ModelStatus]) -> dict[str, Any]:
    """Return `GetModelStatusResponse` as JSON, newest version first.

    KServe's clients read `ready`: whether a version answers.
    """
    newest_first = sorted(versions, key=lambda status: -status.id.version)
    return {
        "model_version_status": [_version_status(item) for item in newest_first],
        "ready": any(each.state is ModelState.AVAILABLE for each in newest_first),
    }


def _version_status(status: ModelStatus) -> dict[str, Any]:
    # The engine has no error codes, so gRPC's UNKNOWN stands for all. A version that
    # answers is OK, even if its present files failed to load.
    return {
        "version": str(status.id.version),
        "state": str(status.state),
        "status": {
            "error_code": "OK" if status.error is None else "UNKNOWN",
            "error_message": status.error or status.update_error or "",
        },
    }


def models_document(statuses: Iterable[ModelStatus], root: str) -> list[dict[str, Any]]:
    """Return an entry for each model, with its versions; `root` is the URLs' prefix.

    `statuses` must be sorted by name.
    """
    groups = itertools.groupby(statuses, key=lambda status: status.id.name)
    return [_model(name, list(versions), root) for name, versions in groups]


def _model(name: str, versions: list[ModelStatus], root: str) -> dict[str, Any]:
    url = f"{root}/v1/models/{name}"
    return {
        "name": name,
        "predict": f"{url}:predict",
        "status": url,
        "metadata": f"{url}/metadata",
        "versions": [_version(status, url) for status in versions],
    }


def _version(status: ModelStatus, url: str) -> dict[str, Any]:
    return {
        "version": status.id.version,
        "state": str(status.state),
        "format": status.format,
        "default_signature": status.default_signature,
        "left_out": dict(status.left_out),
        "error": status.error,
        "update_error": status.update_error,
        "labels": list(status.labels),
        "pinned": status.pinned,
        "integrity": status.integrity,
        "memory_bytes": status.memory_bytes,
        "last_used": _moment(status.last_used),
        "concurrency": status.concurrency,
        "load": asdict(status.queue),
        "predict": f"{url}/versions/{status.id.version}:predict",
    }


def _moment(seconds: float | None) -> str | None:
    """Return a time as ISO 8601 in UTC, to the millisecond."""
    if seconds is None:
        return None

    moment = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")
