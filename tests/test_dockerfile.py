"""The image, as far as its Dockerfile tells: no Docker is needed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import tomllib
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from deploy.image.requirements import requirements
from service.settings.compiler import PREFIX
from service.settings.settings import Settings
from tests import PROJECT
from tests.support.dockerfiles import environment, every, only, read_stages

if TYPE_CHECKING:
    from collections.abc import Iterator

PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())
DOCKERFILE = PROJECT / "Dockerfile"
TEXTS = (
    (PROJECT / "pyproject.toml").read_text(),
    (PROJECT / "constraints.txt").read_text(),
)
BUILDER, IMAGE = read_stages(DOCKERFILE)


def test_both_stages_stand_on_the_same_slim_base() -> None:
    bases = [only(stage, "FROM").rest.split()[0] for stage in (BUILDER, IMAGE)]

    assert bases == ["${BASE}"] * 2
    assert "\nARG BASE=python:3.11-slim-bookworm\n" in DOCKERFILE.read_text()


def test_copies_nothing_that_the_context_leaves_out() -> None:
    ignored, *allowed = [
        line
        for line in (PROJECT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith(("#", "**/"))
    ]
    copied = {
        name for copy in every(BUILDER, "COPY") for name in copy.rest.split()[:-1]
    }

    assert ignored == "*"
    assert copied == {line.removeprefix("!") for line in allowed}


def test_copies_all_that_the_wheel_holds() -> None:
    setuptools = PYPROJECT["tool"]["setuptools"]
    packages = [name.strip("*") for name in setuptools["packages"]["find"]["include"]]
    modules = [f"{name}.py" for name in setuptools["py-modules"]]
    copied = {word for copy in every(BUILDER, "COPY") for word in copy.rest.split()}

    project = PYPROJECT["project"]
    beside = [project["readme"], *project["license-files"]]

    assert copied >= {*packages, *modules, *beside}


def test_the_image_gets_only_what_was_built() -> None:
    assert [copy.rest for copy in every(IMAGE, "COPY")] == [
        "--from=builder /opt/tandem /opt/tandem"
    ]


def test_installs_the_locked_versions_without_test_tools() -> None:
    installs = [run.rest for run in every(BUILDER, "RUN") if "install" in run.rest]

    [system, dependencies, own] = installs
    assert "binutils" in system
    assert 'requirements.py "${TENSORFLOW}" > requirements.txt' in dependencies
    assert "-c constraints.txt -r requirements.txt" in dependencies
    assert "-c constraints.txt --no-deps --no-build-isolation . tf_keras" in own


def test_requires_what_the_project_does_without_test_tools() -> None:
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]
    wanted = {*project["dependencies"], *extras["redis"], *extras["otel"]}
    apart = {each for each in wanted if each.startswith(("tensorflow", "tf_keras"))}

    assert len(apart) == 2
    assert set(required("auto", "x86_64")[:-1]) == wanted - apart


@pytest.mark.parametrize(
    ("build", "machine", "name"),
    [
        ("auto", "x86_64", "tensorflow-cpu"),
        ("auto", "aarch64", "tensorflow"),
        ("tensorflow[and-cuda]", "x86_64", "tensorflow[and-cuda]"),
    ],
)
def test_takes_tensorflow_in_one_build_of_the_locked_version(
    build: str, machine: str, name: str
) -> None:
    locked = f"{name}=={version('tensorflow')}"
    found = [each for each in required(build, machine) if "tensorflow" in each]

    assert found == [locked]


def test_needs_a_locked_version() -> None:
    with pytest.raises(ValueError, match="constraints.txt has no line tensorflow=="):
        requirements(TEXTS[0], "keras==3.15.1", "auto", "x86_64")


def required(build: str, machine: str) -> list[str]:
    return requirements(*TEXTS, build=build, machine=machine)


def test_runs_as_a_user_that_is_known_not_to_be_root() -> None:
    user, group = only(IMAGE, "USER").rest.split(":")

    assert (int(user), int(group)) == (10001, 10001)
    assert f"--uid {user}" in only(IMAGE, "RUN").rest


def test_is_set_up_by_variables_that_exist() -> None:
    variables = environment(IMAGE)
    names = {name for name in variables if name.startswith(PREFIX)}

    assert names <= {PREFIX + name.upper() for name in Settings.model_fields}
    assert variables["TANDEM_HOST"] == "0.0.0.0"
    assert variables["TANDEM_MODELS"] == "/models"


def test_the_user_may_write_where_models_are_cached() -> None:
    cache = environment(IMAGE)["TANDEM_CACHE_DIR"]

    assert f"--owner tandem --group tandem {cache}" in only(IMAGE, "RUN").rest
    assert only(IMAGE, "VOLUME").command() == [cache]


def test_starts_the_server_as_process_one() -> None:
    (entry,) = only(IMAGE, "ENTRYPOINT").command()

    assert entry in PYPROJECT["project"]["scripts"]
    assert only(IMAGE, "CMD").command() == ["serve"]


def test_works_outside_the_models_folder() -> None:
    assert only(IMAGE, "WORKDIR").rest == "/"


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_health_is_what_livez_answers(status: int, code: int) -> None:
    with answering(status) as (port, paths):
        assert ask_health(port) == code

    assert paths == ["/livez"]


def test_a_closed_port_is_not_healthy() -> None:
    with answering(200) as (port, _):
        pass

    assert ask_health(port) != 0


def ask_health(port: int) -> int:
    """The exit status of the image's health check, run here."""
    _, *arguments = only(IMAGE, "HEALTHCHECK").command()
    variables = os.environ | {"TANDEM_PORT": str(port)}
    done = subprocess.run(
        [sys.executable, *arguments], env=variables, capture_output=True
    )
    return done.returncode


@contextmanager
def answering(status: int) -> Iterator[tuple[int, list[str]]]:
    """A server that answers all with `status`; its port, and the paths asked for."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()

        try:
            yield server.server_port, paths
        finally:
            server.shutdown()
            thread.join()
