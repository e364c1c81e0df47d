"""The commands of a page, run one after the other as its reader would."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
import yaml  # type: ignore[import-untyped]

from deploy.image.check import parse
from tests import PROJECT
from tests.e2e.processes import PATIENCE_SECONDS, TANDEM, free_port, running
from tests.support.dockerfiles import arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.deploy.conftest import Tools

BLOCK = re.compile(r"```(sh|yaml)\n(.*?)```", re.DOTALL)
NAMED = re.compile(r"# (\S+\.ya?ml)\n")
PORT = re.compile(r"\b8501\b")


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield each block of commands or YAML, with its language."""
    for found in BLOCK.finditer(text):
        yield found[1], found[2]


def commands(block: str) -> list[str]:
    """Return a block's commands, those of several lines joined."""
    lines = block.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip()]


@dataclass(slots=True)
class Reader:
    """Somebody who types a page's commands in `folder`, where the project's files are.

    What needs a cluster, a registry or a builder is done as far as it goes without:
    rendered by the real tool, or held to the files that it names. All else is run. A
    server listens on a port of its own in place of 8501.
    """

    folder: Path
    tools: Tools
    variables: dict[str, str]
    ran: list[str] = field(default_factory=list)
    _built: set[str] = field(default_factory=set)
    _port: int = field(default_factory=free_port)
    _server: ExitStack = field(default_factory=ExitStack)

    def read(self, text: str) -> None:
        with self._server:
            for language, block in blocks(text):
                if language == "yaml":
                    self._write(block)
                else:
                    for command in commands(block):
                        self._do(command)

    def _write(self, block: str) -> None:
        """Write a file whose name is in its first line."""
        if name := NAMED.match(block):
            path = self.folder / name[1]
            path.parent.mkdir(exist_ok=True)
            path.write_text(block)

    def _do(self, command: str) -> None:
        words = shlex.split(command, comments=True)
        ways: dict[tuple[str, ...], Callable[[list[str]], None]] = {
            ("docker", "build"): self._build,
            ("docker", "compose"): self._compose,
            ("docker", "push"): self._push,
            ("helm", "install"): self._install,
            ("kubectl", "apply"): self._apply,
            ("make", "image-test"): self._make,
            ("tandem", "serve"): self._serve,
        }
        way = ways.get(tuple(words[:2]))

        if way is None:
            self._run(command)
        else:
            way(words[2:])

        self.ran.append(command)

    def _run(self, command: str) -> str:
        """Run a command; return what it prints, and learn the key that it shows."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", PORT.sub(str(self._port), command)],
            cwd=self.folder,
            env=os.environ | self.variables,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

        if key := re.search(r"\btdm_\S+", done.stderr):
            self.variables["KEY"] = key[0]

        return done.stdout

    def _build(self, words: list[str]) -> None:
        *options, folder = words
        given = dict(zip(options[::2], options[1::2], strict=True))
        dockerfile = self.folder / folder / "Dockerfile"
        argument = given.pop("--build-arg", None)
        assert argument is None or argument.partition("=")[0] in arguments(dockerfile)
        assert given.keys() == {"-t"}
        self._built.add(given["-t"])

    def _push(self, words: list[str]) -> None:
        assert set(words) <= self._built

    def _compose(self, words: list[str]) -> None:
        option, file, *_ = words
        assert option == "-f"
        assert yaml.safe_load((self.folder / file).read_text())["services"]

    def _install(self, words: list[str]) -> None:
        self._run(shlex.join([str(self.tools.helm), "template", *words]))

    def _apply(self, words: list[str]) -> None:
        option, place, *_ = words
        assert option in ("-k", "-f")
        kustomize = shlex.join([str(self.tools.kubectl), "kustomize", place])
        text = self._run(kustomize if option == "-k" else f"cat {place}")
        assert all(each["kind"] for each in yaml.safe_load_all(text))

    def _make(self, words: list[str]) -> None:
        """Hold its arguments to those of the script: it builds an image."""
        [given] = [each.removeprefix("ARGS=") for each in words]
        parse(shlex.split(given))

    def _serve(self, words: list[str]) -> None:
        """Start a server in place of the one before, and wait until it is ready."""
        self._server.close()
        # The files that it names are there.
        command = ["env", "--chdir", str(self.folder), *TANDEM, "serve", *words]
        command += ["--port", str(self._port), "--no-screen"]
        log = self.folder / "log"
        server = running(command, self._port, log, **self.variables)
        self._server.enter_context(server)
        scheme = "https" if "--tls-cert" in words else "http"
        wait_until_ready(f"{scheme}://127.0.0.1:{self._port}/readyz", log)


def wait_until_ready(url: str, log: Path) -> None:
    started = time.monotonic()

    while time.monotonic() - started < PATIENCE_SECONDS:
        try:
            if httpx.get(url, verify=False).status_code == 200:
                return
        except httpx.TransportError:
            pass

        time.sleep(0.05)

    raise AssertionError(log.read_text())


def variables(folder: Path, tools: Tools) -> dict[str, str]:
    """Return what a reader's shell has; `folder` gets the programs and curl's file."""
    tandem = shlex.join([sys.executable, "-m", "service.cli.main"])
    programs = {"kubectl": str(tools.kubectl), "tandem": tandem}

    for name, command in programs.items():
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        path.chmod(0o755)

    # An answer that isn't good is a failure.
    (folder / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
    return {
        "CURL_HOME": str(folder),
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PYTHONPATH": str(PROJECT),
        "TANDEM_CACHE_DIR": str(folder / "cache"),
        "TANDEM_DATA_DIR": str(folder / "data"),
    }
