"""Files that can't be served, and their error messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from inference.artifacts.builder import ArtifactBuilder
from inference.artifacts.cache import ArtifactCache
from inference.errors import InvalidModel, InvalidSidecar
from inference.repository.scan import ModelFiles
from inference.types import ModelId
from tests.model_files import BROKEN
from tests.support.compiled_cases import sidecar_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.compiled_cases import CompiledCases


@pytest.mark.parametrize("name", BROKEN)
def test_error_names_cause_and_remedy(compiled: CompiledCases, name: str) -> None:
    error = compiled.error(name)
    assert error is not None
    kind, text = error

    wanted = InvalidSidecar if name.startswith("sidecar") else InvalidModel
    assert kind == wanted.__name__
    assert [word for word in BROKEN[name] if word.lower() not in text.lower()] == []


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("h5_custom_layer", InvalidModel),
        ("sidecar_unknown_tensor", InvalidSidecar),
    ],
)
async def test_error_is_passed_on_from_the_child_process(
    compiled: CompiledCases, tmp_path: Path, name: str, error: type[Exception]
) -> None:
    path = compiled.broken(name)
    files = ModelFiles(id=ModelId(name, 1), path=path, sidecar=sidecar_of(path))
    builder = ArtifactBuilder(ArtifactCache(tmp_path), timeout_seconds=100)

    with pytest.raises(error) as caught:
        await builder.build(files, lambda _: None)

    assert type(caught.value) is error
    assert str(caught.value) == (compiled.error(name) or ("", ""))[1]
