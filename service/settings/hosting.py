"""Settings that a hosting platform gives to its containers, by variables of its own."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Platform = Literal["sagemaker", "vertex"]

PORT = "8080"
EVERY_ADDRESS = "0.0.0.0"
SAGEMAKER_MODEL = Path("/opt/ml/model")
SAGEMAKER_MODELS = Path("/opt/ml/models")
"""Below it SageMaker unpacks the models of a multi-model endpoint."""


def platform_settings(
    platform: str | None, environ: Mapping[str, str]
) -> dict[str, object]:
    """Return the settings that `platform` prescribes: where to listen, what to serve.

    As in "Use Your Own Inference Code with Hosting Services" of Amazon SageMaker AI,
    and "Custom container requirements for inference" of Vertex AI.
    """
    if platform == "sagemaker":
        port = environ.get("SAGEMAKER_BIND_TO_PORT") or PORT
        return {"host": EVERY_ADDRESS, "port": port, **_sagemaker_models(environ)}

    if platform == "vertex":
        port = environ.get("AIP_HTTP_PORT") or PORT
        # Elsewhere its files must be fetched first: `gs://` is none of ours to read.
        place = environ.get("AIP_STORAGE_URI", "").removeprefix("file://")
        models = {"models": place} if place.startswith("/") else {}
        return {"host": EVERY_ADDRESS, "port": port, **models}

    return {}


def serves_many(environ: Mapping[str, str]) -> bool:
    """Return whether SageMaker says that this is a multi-model endpoint."""
    return environ.get("SAGEMAKER_MULTI_MODEL", "").lower() == "true"


def _sagemaker_models(environ: Mapping[str, str]) -> dict[str, object]:
    if serves_many(environ):
        links = Path(tempfile.gettempdir(), "tandem-sagemaker")
        links.mkdir(mode=0o700, exist_ok=True)
        roots = [SAGEMAKER_MODELS] if SAGEMAKER_MODELS.is_dir() else []
        return {"models": links, "follow_links_to": roots}

    return {"models": SAGEMAKER_MODEL} if SAGEMAKER_MODEL.is_dir() else {}
