"""Render the manifests for a cluster, and hold them to their schemas and our rules."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

import jsonschema
import pytest
import yaml  # type: ignore[import-untyped]

from service.settings.settings import Settings
from service.telemetry.families import FAMILIES
from tests.deploy.conftest import CHART, DEPLOY
from tests.support.clients import make_app
from tests.support.fakes import FakeEngine

if TYPE_CHECKING:
    from pathlib import Path

    from tests.deploy.conftest import Manifest, Tools

VERSIONS = ("1.32", "1.35", "1.37")
KUSTOMIZE = ("base", "overlays/small", "overlays/production", "overlays/gpu")
HELM = {
    "defaults": (),
    "all": (
        *("--set", "autoscaling.enabled=true", "--set", "serviceMonitor.enabled=true"),
        *("--set", "redis.secret=store", "--set", "cache.existingClaim=kept"),
        *("--set", "settings.max-queue=64", "--set", "settings.workers=2"),
    ),
    "keda": ("--set", "keda.enabled=true", "--set", "models.image=models:1"),
    "gpus": ("--set", "gpus=2", "--set", "nodeSelector.zone=a"),
    "secrets": (
        *("--set", "secrets.apiKeys=keys", "--set", "secrets.tls=certificate"),
        *("--set", "secrets.adminToken=token", "--set", "serviceMonitor.enabled=true"),
    ),
    "claims": ("--set", "models.existingClaim=mine", "--set", "replicas=3"),
}
CASES = [*KUSTOMIZE, *(f"helm {name}" for name in HELM)]
VALIDATE = """
import json, sys
from kubernetes_validate import validate

for document in json.load(sys.stdin):
    for version in sys.argv[1:]:
        validate(document, version, strict=True)
"""
CUSTOM = {
    "ServiceMonitor": {
        "type": "object",
        "required": ["selector", "endpoints"],
        "additionalProperties": False,
        "properties": {
            "selector": {"required": ["matchLabels"]},
            "jobLabel": {"const": "app.kubernetes.io/name"},
            "endpoints": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "required": ["port"],
                    "additionalProperties": False,
                    "properties": {
                        "port": {"type": "string"},
                        "path": {"type": "string", "pattern": "^/"},
                        "interval": {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"},
                        "scheme": {"enum": ["http", "https"]},
                        "tlsConfig": {"type": "object"},
                    },
                },
            },
        },
    },
    "ScaledObject": {
        "type": "object",
        "required": ["scaleTargetRef", "triggers"],
        "additionalProperties": False,
        "properties": {
            "scaleTargetRef": {"required": ["name"]},
            "minReplicaCount": {"type": "integer"},
            "maxReplicaCount": {"type": "integer"},
            "cooldownPeriod": {"type": "integer"},
            "triggers": {
                "type": "array",
                "items": {
                    "required": ["type", "metadata"],
                    "properties": {
                        "type": {"const": "prometheus"},
                        "metadata": {
                            "required": ["serverAddress", "query", "threshold"],
                            "additionalProperties": {"type": "string"},
                        },
                    },
                },
            },
        },
    },
}
"""The parts of operators' own kinds that are used here."""


@pytest.fixture(scope="module")
def rendered(tools: Tools) -> dict[str, list[Manifest]]:
    """All manifests, by case."""
    made = {folder: tools.kustomize(folder) for folder in KUSTOMIZE}
    return made | {f"helm {n}": tools.template(*o) for n, o in HELM.items()}


def with_component(
    tools: Tools, component: str, folder: Path, overlay: str = "overlays/small"
) -> list[Manifest]:
    """Render an overlay with a component of `deploy/kustomize`."""
    # kubectl takes no absolute paths.
    names = {"resources": overlay, "components": component}
    places = {
        kind: [os.path.relpath(DEPLOY / "kustomize" / name, folder)]
        for kind, name in names.items()
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(places))
    return tools.kustomize(str(folder))


def kinds(documents: list[Manifest]) -> list[str]:
    return sorted(each["kind"] for each in documents)


def one(documents: list[Manifest], kind: str) -> Manifest:
    [found] = [each for each in documents if each["kind"] == kind]
    return found


def test_each_is_rendered_whole(rendered: dict[str, list[Manifest]]) -> None:
    least = ["Deployment", "NetworkPolicy", "Service"]
    claim = "PersistentVolumeClaim"
    scaled = ["HorizontalPodAutoscaler", "PodDisruptionBudget", "ServiceMonitor"]
    assert {case: kinds(documents) for case, documents in rendered.items()} == {
        "base": sorted([*least, claim]),
        "overlays/small": sorted([*least, claim]),
        "overlays/production": sorted([*least, claim, *scaled]),
        "overlays/gpu": sorted([*least, claim]),
        "helm secrets": sorted([*least, claim, "ServiceMonitor"]),
        "helm defaults": sorted([*least, claim]),
        "helm all": sorted([*least, claim, *scaled]),
        "helm keda": sorted([*least, "PodDisruptionBudget", "ScaledObject"]),
        "helm gpus": sorted([*least, claim]),
        "helm claims": sorted([*least, "PodDisruptionBudget"]),
    }


def test_kubernetes_takes_them(
    rendered: dict[str, list[Manifest]], schemas: Path
) -> None:
    documents = [
        each
        for manifests in rendered.values()
        for each in manifests
        if each["kind"] not in CUSTOM
    ]
    subprocess.run(
        [sys.executable, "-c", VALIDATE, *VERSIONS],
        input=json.dumps(documents),
        env={"PYTHONPATH": str(schemas)},
        text=True,
        check=True,
    )


@pytest.mark.parametrize("case", CASES)
def test_operators_kinds_are_as_their_operators_want_them(
    rendered: dict[str, list[Manifest]], case: str
) -> None:
    for each in rendered[case]:
        if each["kind"] in CUSTOM:
            jsonschema.validate(each["spec"], CUSTOM[each["kind"]])


@pytest.mark.parametrize("case", CASES)
def test_pods_may_no_more_than_they_need(
    rendered: dict[str, list[Manifest]], case: str
) -> None:
    pod = one(rendered[case], "Deployment")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] >= 10000
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]
    assert container["resources"]["requests"]["cpu"]
    assert mounts["/models"]["readOnly"] is True
    for volume in pod["volumes"]:
        assert "hostPath" not in volume
        assert volume.get("emptyDir", {"sizeLimit": 1})["sizeLimit"]


@pytest.mark.parametrize("case", CASES)
def test_probes_ask_what_there_is(
    rendered: dict[str, list[Manifest]], case: str
) -> None:
    app = make_app(FakeEngine())
    paths = {
        rule.rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())
    }
    pod = one(rendered[case], "Deployment")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {"http": Settings.model_fields["port"].default}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["path"] in paths
        assert asked["port"] in ports


@pytest.mark.parametrize("case", CASES)
def test_variables_are_settings_and_leave_time_to_stop(
    rendered: dict[str, list[Manifest]], case: str
) -> None:
    pod = one(rendered[case], "Deployment")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    given = {each["name"]: each.get("value") for each in container["env"]}
    known = {f"TANDEM_{name.upper()}" for name in Settings.model_fields}
    assert given.keys() <= known
    stopping = float(given["TANDEM_DRAIN_DELAY"]) + float(given["TANDEM_GRACE"])
    assert pod["terminationGracePeriodSeconds"] >= stopping + 10
    assert container["args"] == ["serve"]


@pytest.mark.parametrize("case", CASES)
def test_selectors_find_the_pods(
    rendered: dict[str, list[Manifest]], case: str
) -> None:
    deployment = one(rendered[case], "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    policy = one(rendered[case], "NetworkPolicy")["spec"]
    chosen = [
        deployment["spec"]["selector"]["matchLabels"],
        one(rendered[case], "Service")["spec"]["selector"],
        policy["podSelector"]["matchLabels"],
    ]
    assert all(each and each.items() <= labels for each in chosen)
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}


@pytest.mark.parametrize(("case", "count"), [("overlays/gpu", 1), ("helm gpus", 2)])
def test_pods_with_gpus_go_where_there_are_some(
    rendered: dict[str, list[Manifest]], case: str, count: int
) -> None:
    pod = one(rendered[case], "Deployment")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    [toleration] = pod["tolerations"]

    assert container["resources"]["limits"]["nvidia.com/gpu"] == str(count)
    assert pod["nodeSelector"]["nvidia.com/gpu.present"] == "true"
    assert toleration["key"] == "nvidia.com/gpu"


@pytest.mark.parametrize("case", [each for each in CASES if "gpu" not in each])
def test_other_pods_ask_for_none(
    rendered: dict[str, list[Manifest]], case: str
) -> None:
    assert "gpu" not in json.dumps(rendered[case])


def test_scalers_ask_for_metrics_that_there_are() -> None:
    text = (DEPLOY / "kustomize/components/keda/scaler.yaml").read_text()
    text += (CHART / "templates/scaling.yaml").read_text()
    assert set(re.findall(r"tandem_\w+", text)) <= FAMILIES.keys()


def test_the_redis_component_opens_the_way_to_it(
    rendered: dict[str, list[Manifest]],
) -> None:
    for case in ("overlays/production", "helm all"):
        [container] = one(rendered[case], "Deployment")["spec"]["template"]["spec"][
            "containers"
        ]
        variable = {each["name"]: each for each in container["env"]}["TANDEM_REDIS"]
        ports = {
            port["port"]
            for rule in one(rendered[case], "NetworkPolicy")["spec"]["egress"]
            for port in rule["ports"]
        }
        assert variable["valueFrom"]["secretKeyRef"]["key"] == "url"
        assert ports == {6379, 53}


@pytest.mark.parametrize("case", ["components/api-keys", "helm secrets"])
def test_files_of_secrets_are_where_the_variables_say(
    tools: Tools, rendered: dict[str, list[Manifest]], case: str, tmp_path: Path
) -> None:
    found = rendered.get(case) or with_component(tools, case, tmp_path)
    pod = one(found, "Deployment")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    secrets = {each["name"]: each for each in pod["volumes"] if "secret" in each}
    folders = {
        each["mountPath"]
        for each in container["volumeMounts"]
        if each["name"] in secrets and each["readOnly"]
    }
    files = {
        each["value"]
        for each in container["env"]
        if each.get("value", "").startswith("/etc/tandem")
    }

    assert {file.rpartition("/")[0] for file in files} == folders != set()
    for each in secrets.values():
        # For the server's group, and not for everybody.
        assert each["secret"]["defaultMode"] == 0o440


def test_probes_speak_as_the_port_does(rendered: dict[str, list[Manifest]]) -> None:
    for case, scheme in (("helm secrets", "HTTPS"), ("helm defaults", "HTTP")):
        pod = one(rendered[case], "Deployment")["spec"]["template"]["spec"]
        [container] = pod["containers"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["scheme"] == scheme


def test_a_monitor_asks_as_the_port_does(rendered: dict[str, list[Manifest]]) -> None:
    for case, scheme in (("helm secrets", "https"), ("helm all", None)):
        [endpoint] = one(rendered[case], "ServiceMonitor")["spec"]["endpoints"]
        assert endpoint.get("scheme") == scheme


def test_large_numbers_of_a_file_stay_as_they_are(tools: Tools, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text("settings: {max-jobs: 2000000, timeout: 1.5, traces: true}")
    found = one(tools.template("--values", str(values)), "Deployment")
    [container] = found["spec"]["template"]["spec"]["containers"]
    given = {each["name"]: each.get("value") for each in container["env"]}

    assert given["TANDEM_MAX_JOBS"] == "2000000"
    assert given["TANDEM_TIMEOUT"] == "1.5"
    assert given["TANDEM_TRACES"] == "true"


def test_pods_reach_what_values_name(tools: Tools) -> None:
    rule = '[{"to": [{"ipBlock": {"cidr": "10.0.0.7/32"}}]}]'
    variable = '[{"name": "OTEL_SERVICE_NAME", "value": "models"}]'
    options = ("--set-json", f"networkPolicy.egress={rule}", "--set-json")
    found = tools.template(*options, f"env={variable}")
    egress = one(found, "NetworkPolicy")["spec"]["egress"]
    [container] = one(found, "Deployment")["spec"]["template"]["spec"]["containers"]

    assert egress[-1] == json.loads(rule)[0]
    assert {port["port"] for port in egress[0]["ports"]} == {53}
    assert json.loads(variable)[0] in container["env"]


def test_the_chart_knows_all_settings(tools: Tools) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    known = schema["properties"]["settings"]["properties"].keys()
    names = {name.replace("_", "-") for name in Settings.model_fields}

    # The parent of workers has these in its own hands.
    assert names - known == {"config", "url", "metrics-dir"}
    assert known <= names


def test_keda_takes_the_autoscalers_place(tools: Tools, tmp_path: Path) -> None:
    found = with_component(tools, "components/keda", tmp_path, "overlays/production")

    assert "ScaledObject" in kinds(found)
    assert "HorizontalPodAutoscaler" not in kinds(found)


def test_the_chart_is_clean(tools: Tools) -> None:
    assert "0 chart(s) failed" in tools.lint()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("settings.port=80", "/settings/port"),
        ("replicas=many", "replicas"),
        ("imag.tag=1", "imag"),
        ("settings.Max_Queue=1", "/settings"),
        ("settings.nonsense=1", "nonsense"),
        ("settings.grace=1min", "/settings/grace"),
        ("secrets.adminToken=a,settings.workers=2", "exclude each other"),
    ],
)
def test_wrong_values_are_refused_by_name(
    tools: Tools, option: str, words: str
) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        tools.template("--set", option)

    assert words in caught.value.stderr


def test_documented_versions_agree() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert chart["appVersion"] == version("tandem-serving")
