"""Models that a page is opened for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx

from tests.e2e.processes import PATIENCE_SECONDS

if TYPE_CHECKING:
    from tests.e2e.sites import Site


def serve(site: Site, stock: str, name: str, **headers: str) -> str:
    """Add a model, and wait until it serves; return the URL of its page."""
    site.bring(stock, f"{name}.pb")
    return wait_for(site, name, **headers)


def wait_for(site: Site, name: str, **headers: str) -> str:
    """Wait until a model serves; return the URL of its page."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not _serves(f"{site.server.url}/v1/models/{name}", headers):
        assert time.monotonic() < give_up, f"{name} doesn't serve"
        time.sleep(0.05)

    return f"{site.server.url}/models/{name}"


def _serves(url: str, headers: dict[str, str]) -> bool:
    try:
        answer = httpx.get(url, headers=headers)
    except httpx.TransportError:
        return False

    versions = answer.json().get("model_version_status", [])
    return any(each["state"] == "AVAILABLE" for each in versions)
