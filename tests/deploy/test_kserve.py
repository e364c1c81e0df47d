"""KServe's runtime and services: as KServe takes them, and served as they say."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml  # type: ignore[import-untyped]
from click.testing import CliRunner

from service.cli.main import main
from service.settings.settings import Settings
from tests.deploy import kserve_kinds
from tests.deploy.conftest import DEPLOY
from tests.deploy.test_manifests import VALIDATE, VERSIONS
from tests.support.clients import make_app
from tests.support.fakes import FakeEngine
from tests.support.packages import packages

if TYPE_CHECKING:
    from pathlib import Path

    from tests.deploy.conftest import Manifest

KSERVE = "kserve==0.21.0"
FILES = sorted((DEPLOY / "kserve").glob("*.yaml"))
DOCUMENTS: dict[str, Manifest] = {
    path.stem: yaml.safe_load(path.read_text()) for path in FILES
}
RUNTIME = DOCUMENTS["runtime"]["spec"]
SERVICES = [each for each in DOCUMENTS.values() if each["kind"] == "InferenceService"]
[CONTAINER] = RUNTIME["containers"]


@pytest.fixture(scope="session")
def kserve(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packages(tmp_path_factory, "kserve-kinds", KSERVE, "--no-deps")


def check(kserve: Path, documents: list[Manifest]) -> str:
    """Return why KServe's SDK refuses the documents; empty if it doesn't."""
    done = subprocess.run(
        [sys.executable, kserve_kinds.__file__, str(kserve)],
        input=json.dumps(documents),
        capture_output=True,
        text=True,
    )
    return done.stderr


def test_kserve_knows_all_that_is_said(kserve: Path) -> None:
    assert check(kserve, list(DOCUMENTS.values())) == ""


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("runtime", {"multimodel": False}, "no {'multimodel'}"),
        ("runtime", {"multiModel": "no"}, "'no' is no bool"),
        ("runtime", {"containers": None}, "`containers`, must not be `None`"),
        ("flowers", {"predictors": {}}, "no {'predictors'}"),
    ],
)
def test_kserve_refuses_what_it_doesnt_know(
    kserve: Path, name: str, change: Manifest, words: str
) -> None:
    wrong = copy.deepcopy(DOCUMENTS[name])
    wrong["spec"] |= change
    wrong["spec"] = {k: v for k, v in wrong["spec"].items() if v is not None}

    assert words in check(kserve, [wrong])


def test_its_container_is_one_that_kubernetes_takes(schemas: Path) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "predictor"},
        "spec": {"containers": [CONTAINER], "volumes": RUNTIME["volumes"]},
    }
    subprocess.run(
        [sys.executable, "-c", VALIDATE, *VERSIONS],
        input=json.dumps([pod]),
        env={"PYTHONPATH": str(schemas)},
        text=True,
        check=True,
    )


def test_its_container_may_no_more_than_it_needs() -> None:
    context = CONTAINER["securityContext"]

    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] >= 10000
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert CONTAINER["resources"]["limits"]["memory"]
    assert all(each["emptyDir"]["sizeLimit"] for each in RUNTIME["volumes"])


def test_kserve_gives_it_one_model_a_pod() -> None:
    assert CONTAINER["name"] == "kserve-container"
    assert RUNTIME["multiModel"] is False
    assert "/mnt/models" in CONTAINER["args"]


def test_each_service_finds_the_runtime() -> None:
    formats = {
        (each["name"], version)
        for each in RUNTIME["supportedModelFormats"]
        for version in (each["version"], None)
        if each["autoSelect"]
    }

    for service in SERVICES:
        model = service["spec"]["predictor"]["model"]
        wanted = model["modelFormat"]
        assert (wanted["name"], wanted.get("version")) in formats
        assert model.get("protocolVersion", "v1") in RUNTIME["protocolVersions"]
        assert (
            model.get("runtime", "tandem") == DOCUMENTS["runtime"]["metadata"]["name"]
        )


def test_its_command_line_is_one_that_the_server_takes() -> None:
    """As far as the folder, which there is only in a pod."""
    words = [word.replace("{{.Name}}", "flowers") for word in CONTAINER["args"]]
    done = CliRunner().invoke(main, words)

    assert done.exit_code == 2
    assert "'PATH': Path '/mnt/models' does not exist" in done.output


def test_its_variables_are_settings_and_its_probes_ask_what_there_is() -> None:
    known = {f"TANDEM_{name.upper()}" for name in Settings.model_fields}
    given = {each["name"]: each["value"] for each in CONTAINER["env"]}
    paths = {rule.rule for rule in make_app(FakeEngine()).url_map.iter_rules()}
    [port] = CONTAINER["ports"]
    stopping = float(given["TANDEM_DRAIN_DELAY"]) + float(given["TANDEM_GRACE"])

    assert given.keys() <= known
    # A pod has 30 s where nobody says otherwise.
    assert stopping + 10 <= 30
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert CONTAINER[probe]["httpGet"]["path"] in paths
        assert CONTAINER[probe]["httpGet"]["port"] == port["containerPort"]
    assert f"--port={port['containerPort']}" in CONTAINER["args"]
    assert port["name"] == "http1"
