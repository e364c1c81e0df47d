"""The choice of a repository's model; one that is run is in `tests/e2e`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from inference import EngineConfig, ModelNotFound, VersionNotFound, open_model

if TYPE_CHECKING:
    from pathlib import Path

FILES = ("one/1/model.h5", "one/3/model.h5", "two.h5")
HDF5 = b"\x89HDF\r\n\x1a\n"


@pytest.mark.parametrize(
    ("files", "name", "version", "words"),
    [
        pytest.param(FILES, None, None, r"name one: one, two\.", id="several"),
        pytest.param(FILES, "three", None, r"'three'; there are: one, two", id="name"),
        pytest.param(FILES, "one", 2, r"no version 2; it has: 1, 3\.", id="version"),
        pytest.param((), None, None, "no model that can be served", id="none"),
    ],
)
async def test_a_model_that_is_not_there_is_explained(
    tmp_path: Path,
    files: tuple[str, ...],
    name: str | None,
    version: int | None,
    words: str,
) -> None:
    for file in files:
        path = tmp_path / "models" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(HDF5)

    (tmp_path / "models").mkdir(exist_ok=True)
    config = EngineConfig(repository=tmp_path / "models", cache=tmp_path / "cache")

    with pytest.raises((ModelNotFound, VersionNotFound), match=words):
        await open_model(config, name, version, report=lambda *_: None)
