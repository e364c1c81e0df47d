"""Podman's commands, as the check of the image needs them."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

NESTED = {
    "BUILDAH_ISOLATION": "chroot",
    "CONTAINERS_CONF": str(Path(__file__).with_name("nested.conf")),
}
NESTED_BUILD = ("--network", "host", "--volume", "/etc/ssl/certs:/etc/ssl/certs:ro")
LOCKED_DOWN = (
    *("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--tmpfs", "/tmp"),
)


class Failed(Exception):
    """The image, or a server in it, isn't as promised."""


@dataclass(frozen=True, slots=True)
class Podman:
    """The command; `nested` where it runs in a container itself, with few rights."""

    nested: bool = False

    def run(self, *words: object, text: str | None = None) -> str:
        """Return what a command prints. Raise `Failed` with its errors."""
        command = ["podman", *(str(each) for each in words)]
        variables = os.environ | (NESTED if self.nested else {})
        done = subprocess.run(
            command, input=text, env=variables, capture_output=True, text=True
        )

        if done.returncode:
            raise Failed(f"{' '.join(command)}: {done.stderr[-4000:].strip()}")

        return done.stdout

    def build(self, folder: Path, image: str, base: str | None) -> None:
        """Build the folder's Dockerfile, on another base than it names if one is."""
        options = [*(NESTED_BUILD if self.nested else ()), "--tag", image]
        options += ["--build-arg", f"BASE={base}"] if base else []
        self.run("build", *options, folder)

    def size(self, image: str) -> int:
        """Return the bytes of all its layers."""
        return int(self.run("image", "inspect", "--format", "{{.Size}}", image))

    @contextmanager
    def container(self, image: str, port: int, models: Path) -> Iterator[Container]:
        """Run the server on a port of this machine with as few rights as it needs."""
        words = [*LOCKED_DOWN, "--volume", f"{models}:/models:ro"]
        words += (
            ("--env", f"TANDEM_PORT={port}")
            if self.nested
            else ("--publish", f"127.0.0.1:{port}:8501")
        )
        name = self.run("run", "--detach", *words, image).strip()

        try:
            yield Container(self, name)
        finally:
            self.run("rm", "--force", "--volumes", name)

    @contextmanager
    def playing(self, manifest: str) -> Iterator[Container]:
        """Play a Deployment of one container; remove it at the end."""
        said = self.run("kube", "play", "-", text=manifest)

        try:
            yield Container(self, said.split("Container:")[1].split()[0])
        finally:
            self.run("kube", "down", "-", text=manifest)


@dataclass(frozen=True, slots=True)
class Container:
    """One that was started."""

    podman: Podman
    name: str

    def asked(self, *command: str) -> str:
        """Return what a command in it prints."""
        return self.podman.run("exec", self.name, *command).strip()

    def terminate(self) -> None:
        self.podman.run("kill", "--signal", "TERM", self.name)

    def exit_status(self) -> int:
        """Wait for its end."""
        return int(self.podman.run("wait", self.name))

    def log(self) -> str:
        return self.podman.run("logs", self.name)
