"""Limits of an engine's models, and its exit during calls."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from inference import (
    DeadlineExceeded,
    Engine,
    Limits,
    LoadFailed,
    ModelLoading,
    ModelNotFound,
    ModelSpec,
    ModelState,
    VersionNotFound,
)
from inference.runtime.servable import Servable
from tests.support.repositories import ask, settled
from tests.support.servables import Gate

if TYPE_CHECKING:
    from inference import EngineConfig, PredictResult
    from tests.support.compiled_cases import CompiledCases

FROZEN = ModelSpec(name="frozen")
SAVED = ModelSpec(name="saved")


def hold(monkeypatch: pytest.MonkeyPatch, method: str, gate: Gate) -> None:
    """Make `method` of any servable wait at `gate`."""
    real = getattr(Servable, method)

    def held(*args: Any, **options: Any) -> Any:
        gate.pass_through()
        return real(*args, **options)

    monkeypatch.setattr(Servable, method, held)


def count_closed(monkeypatch: pytest.MonkeyPatch) -> list[Servable]:
    closed: list[Servable] = []
    close = Servable.close

    def counting(self: Servable) -> None:
        closed.append(self)
        close(self)

    monkeypatch.setattr(Servable, "close", counting)
    return closed


async def test_a_sidecar_limits_its_own_model(
    compiled: CompiledCases, served: EngineConfig
) -> None:
    (served.repository / "frozen.toml").write_text("concurrency = 3\ntimeout = 1e-6")
    results: dict[str, PredictResult] = {}

    async with Engine(served) as engine:
        await settled(engine)
        assert engine.status(FROZEN).concurrency == 3
        assert engine.status(SAVED).concurrency == 2

        with pytest.raises(DeadlineExceeded, match=r"time of 1e-06 s is over"):
            await ask(engine, compiled, "frozen", results)

        await ask(engine, compiled, "saved", results)

    assert list(results) == ["saved"]


async def test_the_engines_limits_hold_for_all_other_models(
    compiled: CompiledCases, served: EngineConfig
) -> None:
    (served.repository / "frozen.toml").write_text("timeout = 3600")
    limits = Limits(concurrency=5, intra_op_threads=1, timeout_seconds=1e-9)
    results: dict[str, PredictResult] = {}

    async with Engine(replace(served, limits=limits)) as engine:
        await settled(engine)
        assert {each.concurrency for each in engine.models()} == {5}
        await ask(engine, compiled, "frozen", results)

        with pytest.raises(DeadlineExceeded):
            await ask(engine, compiled, "saved", results)


@pytest.mark.parametrize(
    ("sidecar", "error"),
    [
        pytest.param(
            "[batching.signatures.clasify]\nmax_rows = 2",
            "frozen.toml: 'batching.signatures.clasify': the model has no such "
            "signature; it has: serving_default.",
            id="a signature that isn't there",
        ),
        pytest.param(
            "[batching]\nmax_rows = 2\nallowed_rows = [1, 4]",
            "frozen.toml: 'batching': the largest of allowed_rows is 4, and max_rows "
            "is 2; they must be the same.",
            id="rows that contradict each other",
        ),
    ],
)
async def test_wrong_limits_fail_their_own_model(
    served: EngineConfig, sidecar: str, error: str
) -> None:
    (served.repository / "frozen.toml").write_text(sidecar)

    async with Engine(served) as engine:
        await settled(engine)
        assert engine.status(FROZEN).error == error
        assert engine.status(SAVED).state is ModelState.AVAILABLE


async def test_admission_follows_the_models_state(served: EngineConfig) -> None:
    (served.repository / "frozen.toml").write_text("concurency = 3")

    async with Engine(served) as engine:
        with pytest.raises(ModelLoading):
            engine.admit(SAVED)

        await settled(engine)
        engine.admit(SAVED)
        engine.admit(ModelSpec(name="saved", version=7))

        with pytest.raises(LoadFailed, match="frozen.toml"):
            engine.admit(FROZEN)

        with pytest.raises(ModelNotFound):
            engine.admit(ModelSpec(name="flowers"))

        with pytest.raises(VersionNotFound):
            engine.admit(ModelSpec(name="saved", version=8))


async def test_exit_waits_for_running_calls(
    compiled: CompiledCases, served: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is closed while a thread uses it, and its client gets the answer."""
    gate = Gate()
    closed = count_closed(monkeypatch)
    results: dict[str, PredictResult] = {}

    async def let_through() -> None:
        await anyio.wait_all_tasks_blocked()
        formats = [each.manifest.source_format for each in closed]

        # First of all: a thread that is held would keep a failing test from its end.
        gate.let_through()
        assert "SavedModel" not in formats
        assert results == {}

    async with anyio.create_task_group() as tasks:
        async with Engine(served) as engine:
            await settled(engine)
            hold(monkeypatch, "run", gate)
            tasks.start_soon(ask, engine, compiled, "saved", results)
            await gate.until_ran(1)
            tasks.start_soon(let_through)

        assert len(closed) == len(engine.models())

    assert list(results) == ["saved"]


async def test_exit_closes_a_model_being_mapped(
    served: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    hold(monkeypatch, "warm_up", gate)
    closed = count_closed(monkeypatch)

    async def let_through() -> None:
        await anyio.wait_all_tasks_blocked()
        assert closed == []
        gate.let_through()

    async with anyio.create_task_group() as tasks:
        async with Engine(served):
            await gate.until_ran(1)
            tasks.start_soon(let_through)

    assert len(closed) == gate.began
