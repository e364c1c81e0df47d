"""The client library's strict parser of OpenMetrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from prometheus_client.openmetrics.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from prometheus_client.core import Metric

ACCEPT = {"Accept": "application/openmetrics-text"}


def parse_openmetrics(text: str) -> list[Metric]:
    """Return all families. Raise `ValueError` for what isn't valid."""
    parse = text_string_to_metric_families
    return cast("list[Metric]", list(parse(text)))  # type: ignore[no-untyped-call]
