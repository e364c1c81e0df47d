"""The commands of the pages for operators run, as far as they do without a cluster."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import PROJECT
from tests.deploy.documented import Reader, blocks, commands, variables
from tests.e2e.conftest import write_scales
from tests.support.shared import made_once, shared_folder
from tests.support.tools import find_tool

if TYPE_CHECKING:
    from pathlib import Path

    from tests.deploy.conftest import Tools

PAGES = ("kubernetes.md", "operations.md")


@pytest.fixture
def reader(
    tmp_path: Path, tools: Tools, tmp_path_factory: pytest.TempPathFactory
) -> Reader:
    """A reader in a copy of what the pages name, with a model and a certificate."""
    folder, own = tmp_path / "project", tmp_path / "own"
    own.mkdir()
    shutil.copytree(PROJECT / "deploy", folder / "deploy")
    shutil.copy(PROJECT / "Dockerfile", folder)
    (folder / "models").mkdir()
    compiled = made_once(shared_folder(tmp_path_factory) / "scales", write_scales)
    shutil.copy(compiled / "stock" / "two.pb", folder / "models" / "digits.pb")
    shutil.copytree(compiled / "cache", own / "cache")
    names = ["-pkeyopt", "ec_paramgen_curve:prime256v1"]
    names += ["-subj", "/CN=localhost", "-keyout", "tls.key", "-out", "tls.crt"]
    openssl = [find_tool("openssl", "openssl"), "req", "-x509", "-newkey", "ec"]
    subprocess.run(
        [*openssl, "-nodes", *names], cwd=folder, check=True, capture_output=True
    )
    return Reader(folder, tools, variables(own, tools))


@pytest.mark.parametrize("page", PAGES)
def test_each_command_of_a_page_runs(reader: Reader, page: str) -> None:
    text = (PROJECT / "docs" / page).read_text()
    written = [
        command
        for language, block in blocks(text)
        if language == "sh"
        for command in commands(block)
    ]
    reader.read(text)

    assert reader.ran == written
    assert len(written) >= 5


@pytest.mark.parametrize(
    "command",
    [
        "docker push registry.example/tandem:0.1.0",
        "docker build --build-arg TENSORFLOV=tensorflow -t tandem .",
        "helm install models deploy/helm/tandem --set settings.port=1",
        "kubectl kustomize deploy/kustomize/overlays/huge",
        "kubectl apply -f deploy/kserve/roses.yaml",
        "tandem keys new ci --modle digits",
        "curl http://127.0.0.1:8501/livez",
        "kustomise build .",
    ],
)
def test_a_command_that_does_not_work_is_found(reader: Reader, command: str) -> None:
    with pytest.raises(AssertionError):
        reader.read(f"```sh\n{command}\n```\n")
