"""Model states as JSON values: TensorFlow Serving's status, and our lists. Pure."""

from __future__ import annotations

import itertools
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inference import ModelStatus


def status_document(versions: Iterable[ModelStatus]) -> dict[str, Any]:
    """TensorFlow Serving's `GetModelStatusResponse` as JSON, newest version first."""
    newest_first = sorted(versions, key=lambda status: -status.id.version)
    return {"model_version_status": [_version_status(item) for item in newest_first]}


def _version_status(status: ModelStatus) -> dict[str, Any]:
    # The engine has no codes for what went wrong: gRPC's UNKNOWN says that.
    return {
        "version": str(status.id.version),
        "state": str(status.state),
        "status": {
            "error_code": "OK" if status.error is None else "UNKNOWN",
            "error_message": status.error or "",
        },
    }


def models_document(statuses: Iterable[ModelStatus], root: str) -> list[dict[str, Any]]:
    """One entry a model, its versions in it; `root` is what URLs start with.

    `statuses` is sorted by name.
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
        "error": status.error,
        "concurrency": status.concurrency,
        "load": asdict(status.load),
        "predict": f"{url}/versions/{status.id.version}:predict",
    }


def readiness_document(statuses: Iterable[ModelStatus], ready: bool) -> dict[str, Any]:
    return {
        "ready": ready,
        "models": {str(status.id): _readiness(status) for status in statuses},
    }


def _readiness(status: ModelStatus) -> dict[str, Any]:
    return {
        "state": str(status.state),
        "stage": status.stage,
        "error": status.error,
    }
