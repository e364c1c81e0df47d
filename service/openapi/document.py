"""The OpenAPI document of a server and its models. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from service.jobs.job import JobStatus
from service.openapi.models import model_paths, model_tag
from service.openapi.operations import HEADERS, PARAMETERS, error_responses
from service.openapi.server import (
    ADMIN,
    JOBS,
    MODELS,
    PROBES,
    SERVER,
    TOKEN,
    about_paths,
    accepted,
    admin_paths,
    job_paths,
    model_parameter,
    server_paths,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from service.openapi.models import Address

OPENAPI = "3.1.0"
DESCRIPTION = (
    "TensorFlow and Keras models over HTTP, by TensorFlow Serving's REST API (`/v1`)"
    " and the Open Inference Protocol (`/v2`). Schemas and examples are made from the"
    " models that are served now."
)

KEYS: dict[str, Any] = {
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "apiKeyAsBearer": {"type": "http", "scheme": "bearer"},
}
"""The two ways to send an API key; either is enough."""

OPEN = (*PROBES, "/metrics")
"""Paths that need no key."""

SCHEMAS: Mapping[str, Any] = {
    "Error": {
        "type": "object",
        "properties": {"error": {"type": "string"}},
        "required": ["error"],
    },
    "Base64": {
        "type": "object",
        "description": "Bytes, or the file of an image, in base64.",
        "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
        "required": ["b64"],
        "additionalProperties": False,
    },
    "Parameters": {
        "type": "object",
        "additionalProperties": {"type": ["boolean", "number", "string"]},
    },
    "Job": {
        "type": "object",
        "description": "An asynchronous prediction.",
        "properties": {
            "id": {"type": "string"},
            "model": {"type": "string"},
            "version": {"type": ["integer", "null"]},
            "signature": {"type": ["string", "null"]},
            "status": {"type": "string", "enum": list(JobStatus)},
            "progress": {
                "type": "object",
                "properties": {
                    "done": {"type": "integer"},
                    "total": {"type": "integer"},
                    "unit": {"type": "string"},
                },
            },
            **{
                f"{event}_at": {"type": ["string", "null"], "format": "date-time"}
                for event in ("created", "started", "completed", "expires")
            },
            "attempts": {"type": "integer"},
            "error": {"type": ["string", "null"]},
            "urls": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "required": ["id", "model", "status", "progress", "urls"],
    },
    "InferAnswer": {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "outputs": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "name": {"type": "string"},
                        "datatype": {"type": "string"},
                        "shape": {"type": "array", "items": {"type": "integer"}},
                        "data": {"type": "array", "items": {}},
                    },
                    "required": ["name", "datatype", "shape"],
                },
            },
        },
        "required": ["model_name", "model_version", "outputs"],
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """The subject of a document: addresses of all models, and `root`, a URL prefix.

    Calls that the server has off aren't described.
    """

    version: str
    root: str
    models: Sequence[Address]
    jobs: bool
    admin: bool
    keys: bool = False

    def same(self, other: Described) -> bool:
        """Return whether the other's document is equal, without making either."""
        return self._key() == other._key()

    def _key(self) -> tuple[Any, ...]:
        # Signatures stay the same objects until their version is loaded anew, and
        # while they are kept here none else has their identity.
        addresses = [
            (
                each.place,
                each.status.id,
                each.status.default_signature,
                *map(id, each.signatures.values()),
            )
            for each in self.models
        ]
        return (self.version, self.root, self.jobs, self.admin, self.keys, addresses)


def openapi_document(described: Described) -> dict[str, Any]:
    """Return the document, of OpenAPI 3.1."""
    names: dict[str, Address] = {}
    for address in described.models:
        names.setdefault(address.status.id.name, address)

    groups = [MODELS, SERVER]
    groups += [JOBS] if described.jobs else []
    groups += [ADMIN] if described.admin else []
    paths = _paths(described)
    document = {
        "openapi": OPENAPI,
        "info": {
            "title": "Tandem",
            "version": described.version,
            "description": DESCRIPTION,
        },
        "servers": [{"url": described.root or "/"}],
        "tags": [*map(model_tag, names.values()), *({"name": each} for each in groups)],
        "paths": paths,
        "components": _components(described, sorted(names)),
    }
    if described.keys:
        document["security"] = [{name: []} for name in KEYS]
        for path in OPEN:
            paths[path]["get"]["security"] = []

    return document


def _paths(described: Described) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for address in described.models:
        paths |= model_paths(address)

    paths |= about_paths() | server_paths()
    paths |= job_paths() if described.jobs else {}
    paths |= admin_paths() if described.admin else {}
    return paths


def _components(described: Described, models: list[str]) -> dict[str, Any]:
    schemes = _schemes(described)
    return {
        "schemas": SCHEMAS,
        "parameters": {**PARAMETERS, "Model": model_parameter(models)},
        "headers": HEADERS,
        "responses": {**error_responses(), "Accepted": accepted(links=described.jobs)},
        **({"securitySchemes": schemes} if schemes else {}),
    }


def _schemes(described: Described) -> dict[str, Any]:
    token = {TOKEN: {"type": "http", "scheme": "bearer"}} if described.admin else {}
    return token | (KEYS if described.keys else {})
