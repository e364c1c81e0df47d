"""Settings of a Redis that let it lose accepted jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LOOKED_AT = ("appendonly", "appendfsync", "maxmemory-policy")


def risks_of(settings: Mapping[str, str]) -> list[str]:
    """Return what may lose jobs, and its cure, by those settings that are known."""
    risks = []

    if settings.get("appendonly") == "no":
        risks.append("a restart loses jobs: set appendonly yes")
    elif settings.get("appendfsync", "always") != "always":
        risks.append("a crash loses the last seconds' jobs: set appendfsync always")

    if settings.get("maxmemory-policy", "noeviction") != "noeviction":
        risks.append("a full memory drops jobs: set maxmemory-policy noeviction")

    return risks
