"""Model folders come from anywhere, and may contain Python files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference.artifacts.child import run_child
from inference.artifacts.messages import CompileRequest

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def test_compiler_imports_nothing_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keras.py").write_text("open('canary', 'w')")
    (tmp_path / "json.py").write_text("open('canary', 'w')")
    (tmp_path / "model.pb").touch()
    (tmp_path / "artifact").mkdir()
    monkeypatch.chdir(tmp_path)

    event = await run_child(
        CompileRequest(
            path=str(tmp_path / "model.pb"),
            sidecar=None,
            folder=str(tmp_path / "artifact"),
        ),
        lambda stage: None,
    )

    assert "model.pb is empty" in (event.error or "")
    assert not (tmp_path / "canary").exists()
