"""The services of one machine: as the specification has them, and held to our rules."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml  # type: ignore[import-untyped]

from service.settings.settings import Settings
from tests.deploy.conftest import DEPLOY
from tests.support.clients import make_app
from tests.support.dockerfiles import environment, read_stages
from tests.support.fakes import FakeEngine
from tests.support.packages import packages
from tests.support.promtool import promtool
from tests.test_dockerfile import DOCKERFILE

if TYPE_CHECKING:
    from pathlib import Path

SPECIFICATION = "compose-spec==0.2.1"
PARSE = """
import sys
from compose_spec import PyCompose

PyCompose.from_yaml(sys.stdin.read())
"""
FILE = DEPLOY / "compose.yaml"
DOCUMENT: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, Any] = DOCUMENT["services"]
ADDRESS = f"tandem:{Settings.model_fields['port'].default}"


@pytest.fixture(scope="session")
def specification(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packages(tmp_path_factory, "compose-spec", SPECIFICATION)


def parse(specification: Path, document: object) -> str:
    """Return why the specification's parser refuses a file; empty if it doesn't."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", PARSE],
        # Compose puts variables in before.
        input=re.sub(r"\$\{\w+:-(.*?)\}", r"\1", yaml.safe_dump(document)),
        env={"PYTHONPATH": str(specification)},
        capture_output=True,
        text=True,
    )
    return done.stderr


def mounts(service: str, kind: str) -> dict[str, str]:
    """Return the sources of a service's mounts of a kind, by their places in it."""
    return {
        each["target"]: each["source"]
        for each in SERVICES[service].get("volumes", [])
        if each["type"] == kind
    }


def test_the_file_is_as_the_specification_has_it(specification: Path) -> None:
    assert parse(specification, DOCUMENT) == ""


def test_the_specification_refuses_what_it_doesnt_know(specification: Path) -> None:
    wrong = {"image": "tandem", "healthcheck": {"test": "true", "intervall": "5s"}}

    assert "intervall" in parse(specification, {"services": {"tandem": wrong}})


@pytest.mark.parametrize("name", SERVICES)
def test_services_may_no_more_than_they_need(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    # A tag without a version would bring another program one day.
    assert name == "tandem" or re.search(r":v?\d+\.\d+", service["image"])


def test_files_that_are_mounted_exist() -> None:
    sources = {source for name in SERVICES for source in mounts(name, "bind").values()}
    sources.remove("${MODELS:-../models}")

    assert len(sources) == 4
    assert all((DEPLOY / source).exists() for source in sources)


def test_volumes_are_declared_and_used() -> None:
    used = {source for name in SERVICES for source in mounts(name, "volume").values()}

    assert used == DOCUMENT["volumes"].keys()


def test_the_servers_variables_are_settings_and_its_folders_the_images() -> None:
    variables = SERVICES["tandem"]["environment"]
    image = environment(read_stages(DOCKERFILE)[-1])

    assert variables.keys() <= {
        f"TANDEM_{name.upper()}" for name in Settings.model_fields
    }
    assert image["TANDEM_MODELS"] in mounts("tandem", "bind")
    assert image["TANDEM_CACHE_DIR"] in mounts("tandem", "volume")


def test_the_server_is_healthy_when_it_is_ready() -> None:
    *_, code = SERVICES["tandem"]["healthcheck"]["test"]
    paths = {rule.rule for rule in make_app(FakeEngine()).url_map.iter_rules()}

    assert f"{ADDRESS.replace('tandem', '127.0.0.1')}/readyz'" in code
    assert "/readyz" in paths


def test_prometheus_takes_its_configuration_and_rules() -> None:
    checked = promtool(
        "check", "config", "prometheus.yml", folder=DEPLOY / "prometheus"
    )

    assert checked.returncode == 0, checked.stderr
    assert "SUCCESS: 1 rule files found" in checked.stdout


def test_prometheus_finds_its_files_and_the_server() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    [job] = config["scrape_configs"]
    folder = "/etc/prometheus/"

    assert job["static_configs"] == [{"targets": [ADDRESS]}]
    assert mounts("prometheus", "bind") == {
        f"{folder}{name}": f"./prometheus/{name}"
        for name in ("prometheus.yml", *config["rule_files"])
    }


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    folder = DEPLOY / mounts("grafana", "bind")["/etc/grafana/provisioning"]
    [source] = read(folder / "datasources" / "prometheus.yml")["datasources"]
    [provider] = read(folder / "dashboards" / "tandem.yml")["providers"]
    dashboard = f"{provider['options']['path']}/tandem.json"
    variables = SERVICES["grafana"]["environment"]

    assert source["url"] == "http://prometheus:9090"
    assert mounts("grafana", "bind")[dashboard] == "./grafana/tandem.json"
    assert variables["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == dashboard


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    return document
