"""A folder of models of all formats, loaded in the background."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import anyio
import pytest
from structlog.testing import capture_logs

from inference import (
    Engine,
    EngineConfig,
    LoadFailed,
    ModelLoading,
    ModelNotFound,
    ModelSpec,
    ModelState,
    PredictRequest,
    VersionNotFound,
)
from inference.runtime.servable import Servable
from tests.support.arrays import assert_outputs
from tests.support.children import Child, is_alive
from tests.support.repositories import LAYOUT, ask, settled, until

if TYPE_CHECKING:
    from pathlib import Path

    from inference import PredictResult
    from tests.support.compiled_cases import CompiledCases


@pytest.fixture
def child(tmp_path: Path) -> Child:
    return Child(folder=tmp_path)


async def test_formats_answer_side_by_side_while_a_broken_file_is_read(
    compiled: CompiledCases,
    served: EngineConfig,
    child: Child,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (served.repository / "a_broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    child.install(monkeypatch, """wait_for_gate; echo '{"error": "it is cut"}'""")
    results: dict[str, PredictResult] = {}

    async with Engine(served) as engine:
        await until(engine, ModelState.AVAILABLE, *LAYOUT)

        async with anyio.create_task_group() as tasks:
            for name in LAYOUT:
                tasks.start_soon(ask, engine, compiled, name, results)

        assert not engine.ready()
        assert engine.status(ModelSpec(name="a_broken")).state is ModelState.LOADING

        with pytest.raises(ModelLoading):
            await engine.predict(
                PredictRequest(model=ModelSpec(name="a_broken"), inputs={})
            )

        child.open_gate()
        await settled(engine)

        with pytest.raises(LoadFailed, match="'a_broken' could not be loaded: it is"):
            await engine.predict(
                PredictRequest(model=ModelSpec(name="a_broken"), inputs={})
            )

        states = {status.id.name: status.state for status in engine.models()}
        assert list(states) == ["a_broken", *LAYOUT]
        assert states.pop("a_broken") is ModelState.END
        assert set(states.values()) == {ModelState.AVAILABLE}

    for name, (case, _) in LAYOUT.items():
        truth = compiled.case(case)
        assert results[name].model.name == name
        assert_outputs(results[name].outputs, truth.examples[0].outputs)


async def test_one_model_through_the_real_compiler(
    compiled: CompiledCases, config: EngineConfig
) -> None:
    """Answers, the sidecar, and a second engine that finds the artifact."""
    case = compiled.case("frozen_sidecar")
    folder = config.repository / "labelled"
    shutil.copytree(case.path.parent, folder)
    results = []

    for _ in range(2):
        async with Engine(config) as engine:
            await settled(engine)
            request = PredictRequest(
                model=ModelSpec(name="labelled", version=1),
                inputs=case.examples[0].inputs,
            )
            results.append(await engine.predict(request))
            status = engine.status(ModelSpec(name="labelled"))
            assert status.error is None
            assert status.format == "frozen graph"

    for result in results:
        assert_outputs(result.outputs, case.examples[0].outputs)

    (artifact,) = [path for path in config.cache.iterdir() if path.is_dir()]
    names = {path.name for path in artifact.iterdir()}
    # Where TensorFlow fused something, there is a form for other machines.
    assert names - {"portable.pb.gz"} == {"graph.pb", "manifest.json", "weights.bin"}


async def test_empty_repository_is_ready_and_logged(config: EngineConfig) -> None:
    (config.repository / "notes").mkdir()

    with capture_logs() as lines:
        async with Engine(config) as engine:
            assert engine.ready()

    assert [line["event"] for line in lines] == ["entry passed over", "no model found"]

    async with Engine(config) as engine:
        assert engine.models() == []
        [problem] = engine.problems()
        assert problem.startswith("notes: holds no model; it is to have one file")

        with pytest.raises(ModelNotFound, match="no model 'a'; the models are: none"):
            engine.status(ModelSpec(name="a"))


async def test_missing_repository_raises(tmp_path: Path) -> None:
    config = EngineConfig(repository=tmp_path / "none", cache=tmp_path / "cache")

    with pytest.raises(FileNotFoundError):
        async with Engine(config):
            pass


async def test_models_are_listed_by_name_and_version(served: EngineConfig) -> None:
    async with Engine(served) as engine:
        assert {status.state for status in engine.models()} == {ModelState.START}
        assert not engine.ready()
        assert [status.id.version for status in engine.versions("saved")] == [7]
        assert engine.status(ModelSpec(name="saved", version=7)).id.version == 7
        assert engine.status(ModelSpec(name="keras2")).id.version == 3
        assert engine.status(ModelSpec(name="frozen")).id.version == 1

        with pytest.raises(VersionNotFound, match="no version 8; served: 7"):
            engine.status(ModelSpec(name="saved", version=8))

        known = ", ".join(LAYOUT)

        with pytest.raises(ModelNotFound, match=f"'flowers'; the models are: {known}"):
            engine.versions("flowers")

        with pytest.raises(ModelNotFound, match="'flowers'"):
            await engine.predict(
                PredictRequest(model=ModelSpec(name="flowers"), inputs={})
            )


async def test_invalid_sidecar_fails_its_own_model_only(served: EngineConfig) -> None:
    (served.repository / "frozen.toml").write_text("concurency = 3")

    async with Engine(served) as engine:
        await settled(engine)
        error = engine.status(ModelSpec(name="frozen")).error
        assert error is not None
        assert error.startswith("frozen.toml: 'concurency': there is no such key. The")
        assert engine.status(ModelSpec(name="saved")).error is None


async def test_file_removed_before_it_is_loaded(served: EngineConfig) -> None:
    async with Engine(served) as engine:
        (served.repository / "frozen.pb").unlink()
        shutil.rmtree(served.repository / "lookup")
        await settled(engine)

        for name, file in (("frozen", "frozen.pb"), ("lookup", "model.keras")):
            status = engine.status(ModelSpec(name=name))
            assert status.state is ModelState.END
            assert (status.error or "").startswith(f"{file} can't be read: No such")

        assert engine.status(ModelSpec(name="saved")).state is ModelState.AVAILABLE


async def test_unexpected_failure_fails_one_model(
    served: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Servable.warm_up

    def fail(self: Servable) -> None:
        if self.manifest.source_format == "SavedModel":
            raise RuntimeError("a bug\nand its story")

        begin(self)

    monkeypatch.setattr(Servable, "warm_up", fail)

    async with Engine(served) as engine:
        await settled(engine)
        assert engine.status(ModelSpec(name="saved")).error == "a bug"
        assert engine.status(ModelSpec(name="frozen")).state is ModelState.AVAILABLE


async def test_exit_closes_loaded_models(
    served: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []
    close = Servable.close

    def counting(self: Servable) -> None:
        closed.append(self.manifest.source_format)
        close(self)

    monkeypatch.setattr(Servable, "close", counting)

    async with Engine(served) as engine:
        await settled(engine)
        assert closed == []

    assert len(closed) == len(LAYOUT)
    assert {status.state for status in engine.models()} == {ModelState.END}
    assert all(status.signatures == {} for status in engine.models())


async def test_exit_cancels_compilation(
    config: EngineConfig, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    (config.repository / "slow.h5").write_bytes(b"none")
    child.install(monkeypatch, "wait_for_gate")

    async with Engine(config) as engine:
        while engine.status(ModelSpec(name="slow")).stage != "reading":
            await engine.wait_changed()

    (pid,) = child.pids
    assert not is_alive(pid)
    assert [path.name for path in config.cache.iterdir() if path.is_dir()] == []


async def test_a_repository_of_a_name_is_that_model(tmp_path: Path) -> None:
    repository = tmp_path / "mount"
    repository.mkdir()
    (repository / "flowers.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    config = EngineConfig(
        repository=repository, cache=tmp_path / "cache", model_name="here"
    )

    async with Engine(config) as engine:
        assert [str(status.id) for status in engine.models()] == ["here/1"]
