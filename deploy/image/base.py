"""A base like the Dockerfile's, made of Debian's packages where no registry answers."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploy.image.podman import Podman

NAME = "localhost/tandem-base:bookworm"
RELEASE = "bookworm"
PACKAGES = ("ca-certificates", "python3-pip", "python3-venv", "python-is-python3")


def made_base(podman: Podman) -> str:
    """Return the name of the base, which is made once a machine. Needs root."""
    if NAME not in podman.run("images", "--format", "{{.Repository}}:{{.Tag}}").split():
        with tempfile.TemporaryDirectory() as scratch:
            tree, archive = Path(scratch, "tree"), Path(scratch, "tree.tar")
            bootstrap(tree)
            subprocess.run(["tar", "-C", tree, "-cf", archive, "."], check=True)
            podman.run("import", archive, NAME)

    return NAME


def bootstrap(tree: Path) -> None:
    include = f"--include={','.join(PACKAGES)}"
    command = ["debootstrap", "--variant=minbase", include, RELEASE, str(tree)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    for archive in (tree / "var/cache/apt/archives").glob("*.deb"):
        archive.unlink()
