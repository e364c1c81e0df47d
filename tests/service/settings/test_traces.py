from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from service.settings import traces
from service.settings.settings import SettingsError, load_settings
from service.settings.traces import check_traces, exports

GRPC = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_TRACES_EXPORTER": ""},
        {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_TRACES_EXPORTER": "otlp"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
        {**GRPC, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"},
    ],
)
def test_supported_exporter_settings_pass(environ: dict[str, str]) -> None:
    check_traces(environ)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is zipkin"),
        (GRPC, "OTEL_EXPORTER_OTLP_PROTOCOL is grpc; traces are sent by http/protobuf"),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL is http/json",
        ),
    ],
)
def test_unsupported_exporter_settings_are_refused(
    environ: dict[str, str], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        check_traces(environ)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As without the extra: no package of that name is found."""
    found = importlib.util.find_spec

    def find(name: str, *rest: Any) -> Any:
        return None if name.startswith("opentelemetry") else found(name, *rest)

    monkeypatch.setattr(traces, "find_spec", find)

    with pytest.raises(SettingsError, match=r"pip install 'tandem-serving\[otel\]'"):
        load_settings(models="/", traces=True)

    assert load_settings(models="/").traces is False


def test_none_sends_nothing() -> None:
    assert exports({})
    assert not exports({"OTEL_TRACES_EXPORTER": "none"})
