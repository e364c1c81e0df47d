"""The event loop never waits for a disk: a mount that stalls holds only its models."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from inference import Engine, EngineConfig, ModelSpec, ModelState
from tests.support.disk_calls import DiskCalls
from tests.support.repositories import LAYOUT, ask, settled, until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.support.compiled_cases import CompiledCases


async def test_models_come_change_and_go_without_a_disk_call_on_the_loop(
    compiled: CompiledCases,
    served: EngineConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second, *_ = LAYOUT
    sidecar = served.repository / f"{second}.toml"
    sidecar.write_text("concurrency = 0")
    (served.repository / "broken.pb").write_bytes(b"\xff")
    calls = DiskCalls(tmp_path)
    calls.install(monkeypatch)

    async with Engine(served) as engine:
        await settled(engine)
        await ask(engine, compiled, first, {})
        await engine.unload(ModelSpec(name=first))
        await engine.load(ModelSpec(name=first))

        with calls.ignored():
            sidecar.unlink()

        await engine.rescan()
        await until(engine, ModelState.AVAILABLE, second)

        with calls.ignored():
            remove_model(served, first)

        await engine.rescan()

    assert calls.found == []
    assert calls.elsewhere


def remove_model(config: EngineConfig, name: str) -> None:
    for path in config.repository.glob(f"{name}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
