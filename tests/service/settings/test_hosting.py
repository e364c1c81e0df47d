"""Settings that a hosting platform gives to its containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from service.settings.settings import SettingsError, load_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("platform", "variable"),
    [("sagemaker", "SAGEMAKER_BIND_TO_PORT"), ("vertex", "AIP_HTTP_PORT")],
)
def test_the_platform_says_where_to_listen(
    platform: str, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_default = load_settings(models=tmp_path, platform=platform)
    monkeypatch.setenv(variable, "9000")
    told = load_settings(models=tmp_path, platform=platform)
    monkeypatch.setenv("TANDEM_PORT", "1234")
    ours = load_settings(models=tmp_path, platform=platform)

    assert (by_default.host, by_default.port) == ("0.0.0.0", 8080)
    assert (told.port, ours.port) == (9000, 1234)


def test_vertex_says_where_local_files_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANDEM_PLATFORM", "vertex")
    monkeypatch.setenv("AIP_STORAGE_URI", str(tmp_path))
    assert load_settings().models == tmp_path

    monkeypatch.setenv("AIP_STORAGE_URI", "gs://bucket/model")
    with pytest.raises(SettingsError, match="TANDEM_MODELS"):
        load_settings()


def test_without_a_platform_its_variables_mean_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIP_HTTP_PORT", "9000")
    monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", "9000")

    assert load_settings(models=tmp_path).port == 8501


def test_unknown_platform_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="must be 'sagemaker' or 'vertex'"):
        load_settings(models=tmp_path, platform="azure")


def test_a_multi_model_endpoint_has_one_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGEMAKER_MULTI_MODEL", "true")
    with pytest.raises(SettingsError, match="--workers 2 exclude each other"):
        load_settings(models=tmp_path, platform="sagemaker", workers=2)
