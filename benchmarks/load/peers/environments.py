"""A virtual environment per peer; all see the TensorFlow of one of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements"
SHARED = "tf"
"""The environment that has TensorFlow and Keras."""

NAMES = (SHARED, "litserve", "bentoml", "mlserver", "triton")
SYSTEM_PYTHON = {"triton": "/usr/bin/python3"}
"""Triton's back end is built against the system's library of Python."""

PACKAGES = {SHARED: "flask", "triton": "nvidia_pytriton"}
"""The package that a peer is, where its name is another."""

_READY = "ready"
_LINK = "zz_tf.pth"


def default_home() -> Path:
    return Path("~/.cache/tandem-peers").expanduser()


def installed(home: Path, name: str) -> bool:
    """Whether the environment is whole."""
    return (home / name / _READY).is_file()


def version(home: Path, name: str) -> str:
    """Which version of the peer the environment has; empty where none is seen."""
    package = PACKAGES.get(name, name)
    folders = [*(home / name).glob(f"lib/python3*/site-packages/{package}-*.dist-info")]
    return (
        folders[0].name.removesuffix(".dist-info").rpartition("-")[2] if folders else ""
    )


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
    subprocess.run([python, "-m", "venv", folder], check=True)
    wanted = REQUIREMENTS / f"{name}.txt"
    subprocess.run(
        [folder / "bin" / "pip", "install", "--quiet", "-r", wanted], check=True
    )

    if name != SHARED:
        _share(home / SHARED, folder)

    (folder / _READY).touch()


def _share(shared: Path, folder: Path) -> None:
    """Let `folder` import what `shared` has, after its own packages."""
    there, here = _packages(shared), _packages(folder)

    if there.parent.name != here.parent.name:
        raise RuntimeError(
            f"{folder.name} has {here.parent.name}, TensorFlow is in "
            f"{there.parent.name}: the two must be the same."
        )

    (here / _LINK).write_text(f"{there}\n")


def _packages(folder: Path) -> Path:
    return next(folder.glob("lib/python3*/site-packages"))
