"""Write the test models: `python -m tests.model_files ROOT [--group GROUP]`."""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.model_files import build_all
from tests.model_files.cases import save_broken, save_case
from tests.model_files.names import GROUPS, MODULES

if TYPE_CHECKING:
    from tests.model_files.cases import Breaker, Builder


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.model_files")
    parser.add_argument("root", type=Path)
    parser.add_argument("--group", choices=GROUPS, help="all groups where left out")
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    if arguments.group is None:
        build_all(root)
        return

    for module in GROUPS[arguments.group]:
        build_module(root, module)


def build_module(root: Path, module: str) -> None:
    builders = importlib.import_module(f"tests.model_files.{module}")
    for name in MODULES[module]:
        started = time.monotonic()
        build_case(root, name, getattr(builders, name))
        sys.stderr.write(f"{time.monotonic() - started:6.2f} s {name}\n")


def build_case(root: Path, name: str, builder: Builder | Breaker) -> None:
    folder = root / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made = builder(folder)
    if isinstance(made, Path):
        save_broken(made, root, name)
        return

    save_case(made, root, name)


if __name__ == "__main__":
    main()
