"""The test models, built and compiled in the background on demand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from filelock import FileLock

from inference.artifacts.artifact import Artifact
from tests import PROJECT
from tests.model_files import build_group, load_broken, load_case
from tests.model_files.names import GROUPS, MODULES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future
    from pathlib import Path

    from tests.model_files import Case

OLD_KERAS = ("keras1", "keras2", "subclassed")


def _named(*modules: str) -> tuple[str, ...]:
    return tuple(name for module in modules for name in MODULES[module])


def _is_old(name: str) -> bool:
    return any(word in name for word in OLD_KERAS)


_BROKEN_KERAS = _named("broken_keras")

COMPILE_GROUPS: Mapping[str, tuple[str, ...]] = {
    "keras3": (
        *_named("keras3_files"),
        *(name for name in _BROKEN_KERAS if not _is_old(name)),
        *_named(
            *("frozen_tf1", "frozen_shapes", "frozen_tf2", "keras3_frozen"),
            "broken_graphs",
        ),
    ),
    "keras2": (
        *_named("keras2_files"),
        *filter(_is_old, _BROKEN_KERAS),
        *_named("saved_tf1", "saved_tf2", "broken_saved", "keras3_saved"),
    ),
}
"""The cases that one child compiles: none reads files of Keras 2 and of Keras 3."""

ONEDNN = {"keras3": "1", "keras2": "0"}
"""Half of the groups are compiled as on a machine without oneDNN, whatever this one is:
what comes of them must be right on any, and on this one."""

GROUP_OF = {name: group for group, names in COMPILE_GROUPS.items() for name in names}
BUILD_GROUP_OF = {
    name: group for group, modules in GROUPS.items() for name in _named(*modules)
}


def sidecar_of(path: Path) -> Path | None:
    """Return the TOML file of a case's model."""
    beside = path / "model.toml" if path.is_dir() else path.with_suffix(".toml")
    return beside if beside.is_file() else None


class CompiledCases:
    """Groups of cases, built and compiled once each, two children at a time.

    `want` starts a group early; everything else waits for its group.
    Several test processes may share the `folder`: the first to want a group makes it.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "models"
        self._out = folder / "artifacts"
        self._marks = folder / "done"
        self._marks.mkdir(parents=True, exist_ok=True)
        self._pool = ThreadPoolExecutor(max_workers=2)
        self._built: dict[str, Future[None]] = {}
        self._compiled: dict[str, Future[None]] = {}

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def want(self, name: str) -> None:
        self._want_files(name)
        group = GROUP_OF[name]

        if group not in self._compiled:
            # Builds stand before this in the pool's queue, so it can wait for them.
            for case in COMPILE_GROUPS[group]:
                self._want_files(case)

            self._compiled[group] = self._pool.submit(
                self._once, f"compiled-{group}", self._compile, group
            )

    def case(self, name: str) -> Case:
        """Return the model files and the right outputs of a good case."""
        self._want_files(name).result()
        return load_case(self.root, name)

    def broken(self, name: str) -> Path:
        """Return the file or folder of a case that must be refused."""
        self._want_files(name).result()
        return load_broken(self.root, name)

    def artifact(self, name: str) -> Artifact:
        """Return the compiled form; fail with the error if it didn't compile."""
        error = self.error(name)
        assert error is None, f"{name}: {error}"
        return Artifact(self._out / name)

    def error(self, name: str) -> tuple[str, str] | None:
        """Return the class and the text of the error of compiling."""
        self.want(name)
        self._compiled[GROUP_OF[name]].result()
        path = self._out / f"{name}.json"

        if not path.is_file():
            return None

        told = json.loads(path.read_text())
        return told["type"], told["text"]

    def _want_files(self, name: str) -> Future[None]:
        group = BUILD_GROUP_OF[name]

        if group not in self._built:
            self._built[group] = self._pool.submit(
                self._once, f"built-{group}", self._build, group
            )

        return self._built[group]

    def _once(self, name: str, make: Callable[[str], None], group: str) -> None:
        mark = self._marks / name

        with FileLock(f"{mark}.lock"):
            if not mark.exists():
                make(group)
                mark.touch()

    def _build(self, group: str) -> None:
        build_group(self.root, group)

    def _compile(self, group: str) -> None:
        for name in COMPILE_GROUPS[group]:
            self._built[BUILD_GROUP_OF[name]].result()

        command = [sys.executable, "-m", "tests.support.compile_cases"]
        done = subprocess.run(
            [*command, str(self.root), str(self._out), "--group", group],
            cwd=PROJECT,
            env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": ONEDNN[group]},
            capture_output=True,
            text=True,
            check=False,
        )

        if done.returncode:
            raise RuntimeError(f"compiling {group} failed:\n{done.stderr[-4000:]}")
