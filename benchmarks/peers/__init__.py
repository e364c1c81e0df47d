"""Servers that a user would pick instead, each in an environment of its own.

The apps here are as a competent user would write them, batching included. They run in
the peer's environment, so they and this module import nothing else of the project.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SHARED = "tf"
"""The environment with the TensorFlow and Keras that all of them see; Flask's too."""
REQUIREMENTS = {
    SHARED: ("tensorflow>=2.21", "flask>=3.1"),
    "litserve": ("litserve>=0.2.17",),
    "bentoml": ("bentoml>=1.4.39",),
    "mlserver": ("mlserver>=1.7.1",),
    "triton": ("nvidia-pytriton>=0.7",),
}
SYSTEM_PYTHON = {"triton": "/usr/bin/python3"}
"""Triton's back end is built against the system's library of Python."""
PACKAGES = {SHARED: "flask", "triton": "nvidia_pytriton"}
"""The peer's own package, where it has another name."""
_READY = "ready"
_LINK = "zz_tf.pth"


def installed(home: Path, name: str) -> bool:
    """Tell if the environment is complete."""
    return (home / name / _READY).is_file()


def version(home: Path, name: str) -> str:
    """Return the peer's version; empty where none is seen."""
    pattern = f"lib/python3*/site-packages/{PACKAGES.get(name, name)}-*.dist-info"
    found = [path.stem.rpartition("-")[2] for path in (home / name).glob(pattern)]
    return found[0] if found else ""


def install(home: Path, name: str) -> None:
    """Make the environment `name` under `home`, once: minutes, and up to some GB.

    Raises `subprocess.CalledProcessError` when a package can't be had.
    """
    if installed(home, name):
        return

    if name != SHARED:
        install(home, SHARED)

    folder = home / name
    python = SYSTEM_PYTHON.get(name, sys.executable)
    pip = [str(folder / "bin" / "pip"), "install", "--quiet", *REQUIREMENTS[name]]
    subprocess.run([python, "-m", "venv", folder], check=True)
    subprocess.run(pip, check=True)

    if name != SHARED:
        _share(home / SHARED, folder)

    (folder / _READY).touch()


def _share(shared: Path, folder: Path) -> None:
    """Let `folder` import the packages of `shared`, after its own."""
    there, here = _packages(shared), _packages(folder)

    if there.parent.name != here.parent.name:
        raise RuntimeError(
            f"{folder.name} has {here.parent.name}, TensorFlow is in "
            f"{there.parent.name}: the two must be the same."
        )

    (here / _LINK).write_text(f"{there}\n")


def _packages(folder: Path) -> Path:
    return next(folder.glob("lib/python3*/site-packages"))
