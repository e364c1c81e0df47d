"""Print what pip is to install into the image, with TensorFlow in the build named.

    python requirements.py BUILD

reads pyproject.toml and constraints.txt in the working folder. `auto` is TensorFlow's
smallest build for this machine: on x86-64 tensorflow-cpu, which is 0.6 GB smaller.
"""

from __future__ import annotations

import platform
import re
import sys
import tomllib
from pathlib import Path

EXTRAS = ("redis", "otel")
APART = {"tensorflow", "tf_keras"}
"""TensorFlow, and what would bring it again, as it asks for it by this name."""


def requirements(
    pyproject: str, constraints: str, build: str, machine: str
) -> list[str]:
    """Return the project's requirements, TensorFlow's as the locked one of `build`."""
    project = tomllib.loads(pyproject)["project"]
    extras = project["optional-dependencies"]
    wanted = [
        *project["dependencies"],
        *(one for each in EXTRAS for one in extras[each]),
    ]
    locked = re.search(r"^tensorflow==(\S+)", constraints, re.MULTILINE)

    if not locked:
        raise ValueError("constraints.txt has no line tensorflow==VERSION")

    chosen = smallest_build(machine) if build == "auto" else build
    kept = [each for each in wanted if distribution(each) not in APART]
    return [*kept, f"{chosen}=={locked[1]}"]


def smallest_build(machine: str) -> str:
    return "tensorflow-cpu" if machine in ("x86_64", "AMD64") else "tensorflow"


def distribution(requirement: str) -> str:
    """Return the name that a requirement begins with."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0]


if __name__ == "__main__":
    chosen = requirements(
        Path("pyproject.toml").read_text(),
        Path("constraints.txt").read_text(),
        build=sys.argv[1],
        machine=platform.machine(),
    )
    print(*chosen, sep="\n")
