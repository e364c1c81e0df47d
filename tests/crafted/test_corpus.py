"""Every crafted file is refused, for the right reason, and no part of it runs."""

from __future__ import annotations

import json
import pkgutil
import re
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

import tests.crafted
from inference.artifacts.builder import ArtifactBuilder
from inference.artifacts.cache import ArtifactCache
from inference.errors import InvalidModel
from inference.formats.opening import open_source
from inference.repository.scan import ModelFiles
from inference.repository.sidecar import Sidecar
from inference.types import ModelId
from tests.support.children import install_greedy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.crafted.case import Crafted

LEAST_CASES = 60
CHILD = ("graphs", "hdf5", "keras_zips", "saved_models")
"""A module for each kind of file. One child has them all: it takes seconds to start."""

CORPUS: dict[str, list[Crafted]] = {
    name: list(module.CASES)
    for name in sorted(
        each.name for each in pkgutil.iter_modules(tests.crafted.__path__)
    )
    if not name.startswith("test_")
    and hasattr(module := import_module(f"tests.crafted.{name}"), "CASES")
}
CASES = [case for cases in CORPUS.values() for case in cases]


def test_corpus_names_are_unique() -> None:
    assert len(CASES) >= LEAST_CASES
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_crafted_file_is_refused_before_it_runs(case: Crafted, tmp_path: Path) -> None:
    folder, canary = tmp_path / "files", tmp_path / "canary"
    folder.mkdir()
    path = case.make(folder, canary)
    before = state(canary)

    with pytest.raises(InvalidModel, match=f"(?s){case.reason}"):
        open_source(path, Sidecar()).__enter__()

    assert state(canary) == before


async def test_compiler_child_refuses_crafted_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [CORPUS[module][0] for module in CHILD]
    folder, canary, listed = (tmp_path / each for each in ("files", "canary", "list"))
    paths = []

    for case in cases:
        (folder / case.name).mkdir(parents=True)
        paths.append(case.make(folder / case.name, canary))

    before = state(canary)
    listed.write_text("\n".join(map(str, paths)))
    install_greedy(tmp_path, monkeypatch, "compile_each", listed)
    files = ModelFiles(id=ModelId("crafted", 1), path=paths[0], sidecar=None)
    builder = ArtifactBuilder(ArtifactCache(tmp_path / "cache"), timeout_seconds=100)

    with pytest.raises(InvalidModel) as caught:
        await builder.build(files, lambda _: None)

    refusals = json.loads(str(caught.value))

    for case, refusal in zip(cases, refusals, strict=True):
        assert re.search(f"(?s){case.reason}", refusal)

    assert state(canary) == before


def state(path: Path) -> dict[str, bytes] | None:
    """Return the contents of all files there, `None` if there are none."""
    if not path.exists():
        return None

    files = [path] if path.is_file() else sorted(path.rglob("*"))
    return {str(each): each.read_bytes() for each in files if each.is_file()}
