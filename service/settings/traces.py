"""Checks of the `OTEL_…` variables of traces that OpenTelemetry's SDK leaves to us."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

EXPORTER = "OTEL_TRACES_EXPORTER"
EXPORTERS = ("otlp", "none")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"
PACKAGES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


def check_traces(environ: Mapping[str, str]) -> None:
    """Raise `ValueError` if traces can't be sent as `environ` says."""
    if not all(map(_is_installed, PACKAGES)):
        raise ValueError(
            "--traces needs packages that aren't installed: "
            "pip install 'tandem-serving[otel]'"
        )

    exporter = environ.get(EXPORTER) or EXPORTERS[0]
    if exporter not in EXPORTERS:
        raise ValueError(f"{EXPORTER} is {exporter}; --traces knows otlp and none")

    name = next(filter(environ.get, PROTOCOLS), None)
    if name is not None and environ[name] != PROTOCOL:
        raise ValueError(
            f"{name} is {environ[name]}; traces are sent by {PROTOCOL} alone, which "
            "collectors take on port 4318"
        )


def exports(environ: Mapping[str, str]) -> bool:
    """Return whether spans are sent anywhere."""
    return environ.get(EXPORTER) != "none"


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False
