"""Compile test models: `python -m tests.support.compile_cases ROOT OUT --group GROUP`.

One child compiles a whole group, since every child pays seconds for TensorFlow and
Keras. A case ends as the artifact `OUT/<case>/`, or as `OUT/<case>.json` with the class
and the text of its error.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from inference.artifacts.artifact import Artifact
from inference.compiler.compile import compile_model
from tests.model_files import GOOD, load_broken, load_case
from tests.support.compiled_cases import COMPILE_GROUPS, sidecar_of

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.compile_cases")
    parser.add_argument("root", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--group", choices=COMPILE_GROUPS, required=True)
    parsed = parser.parse_args(arguments)

    for name in COMPILE_GROUPS[parsed.group]:
        compile_case(parsed.root, parsed.out, name)


def compile_case(root: Path, out: Path, name: str) -> None:
    path = load_case(root, name).path if name in GOOD else load_broken(root, name)
    folder = out / name
    folder.mkdir(parents=True)

    try:
        manifest = compile_model(path, sidecar_of(path), folder, lambda _: None)
    except Exception as exc:
        # Whatever escapes is the one test's affair, not the group's.
        told = {"type": type(exc).__name__, "text": str(exc)}
        (out / f"{name}.json").write_text(json.dumps(told))
    else:
        Artifact(folder).write_manifest(manifest)


if __name__ == "__main__":
    main()
