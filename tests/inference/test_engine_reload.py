"""An engine whose versions change while requests wait: models without files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import numpy as np
import pytest
from structlog.testing import capture_logs

from inference import (
    ModelSpec,
    ModelUnloaded,
    PredictRequest,
    Unavailable,
)
from tests.support.engines import serving
from tests.support.shelf import MIB

if TYPE_CHECKING:
    from pathlib import Path


def request(name: str, version: int | None = None) -> PredictRequest:
    x = np.array([[4.0]], "float32")
    return PredictRequest(model=ModelSpec(name=name, version=version), inputs={"x": x})


async def test_requests_of_a_replaced_version_go_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sight = {"a": {1: "a"}, "b": {1: "b"}}

    async with serving(tmp_path, monkeypatch, sight, budget=MIB) as made:
        engine, loader, repository = made
        await engine.predict(request("b"))
        answers: list[str] = []

        async def ask(version: int | None) -> None:
            try:
                answers.append(str((await engine.predict(request("a", version))).model))
            except ModelUnloaded as exc:
                answers.append(str(exc))

        async with anyio.create_task_group() as tasks:
            loader.opening = anyio.Event()
            repository.sight = {"a": {1: "a", 2: "c"}, "b": {1: "b"}}
            tasks.start_soon(engine.rescan)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(ask, None)
            tasks.start_soon(ask, 1)
            await anyio.wait_all_tasks_blocked()
            assert answers == []
            loader.opening.set()

        assert sorted(answers)[1] == "a/2"
        assert "Version 1 of model 'a' is being unloaded" in sorted(answers)[0]
        assert [str(of) for of, _ in loader.opened] == ["a/1", "b/1", "a/2"]
        assert engine.overview().memory_bytes == MIB


async def test_answers_are_cached_under_the_content_that_gave_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ModelSpec(name="a")

    async with serving(tmp_path, monkeypatch, {"a": {1: "a"}}, budget=MIB) as made:
        engine, loader, repository = made
        assert engine.cache_policy(spec) is None

        loader.cache_seconds = 60
        digests = []

        # A reload of the same version, a new version, and the first content again.
        for sight in ({1: "b"}, {1: "b", 2: "c"}, {3: "b"}):
            repository.sight = {"a": sight}

            with capture_logs() as logs:
                await engine.rescan()

            # This model's signature isn't known to repeat itself.
            (warning,) = [each for each in logs if "not cached" in each["event"]]
            assert (warning["model"], warning["signature"]) == ("a", "double")
            await engine.rescan()
            policy = engine.cache_policy(spec)
            assert policy is not None
            assert policy.digest == (await engine.predict(request("a"))).digest
            assert (policy.seconds, list(policy.signatures)) == (60, ["double"])
            digests.append(policy.digest)

        assert digests[0] == digests[2] != digests[1]
        await engine.unload(spec)

        with pytest.raises(ModelUnloaded):
            engine.cache_policy(spec)


async def test_sidecar_decides_how_a_model_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ModelSpec(name="a")

    async with serving(tmp_path, monkeypatch, {"a": {1: "a"}}, budget=MIB) as made:
        engine, loader, repository = made
        before = engine.is_asynchronous(spec)
        loader.asynchronous = True
        repository.sight = {"a": {1: "a2"}}
        await engine.rescan()

        assert (before, engine.is_asynchronous(spec)) == (False, True)


async def test_unreadable_repository_leaves_served_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, monkeypatch, {"a": {1: "a"}}, budget=MIB) as made:
        engine, _, repository = made
        repository.error = OSError("the mount is gone")

        with pytest.raises(Unavailable, match="can't be read: the mount is gone"):
            await engine.rescan()

        assert "the mount is gone" in (engine.overview().repository_error or "")
        await engine.predict(request("a"))

        repository.error = None
        assert await engine.rescan() == []
        assert engine.overview().repository_error is None


async def test_nothing_answers_after_exit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sight = {"a": {1: "a"}, "b": {1: "b"}}

    async with serving(tmp_path, monkeypatch, sight, budget=MIB) as made:
        engine, loader, _ = made

    assert {status.state for status in engine.models()} == {"END"}
    assert all(servable.closed for _, servable in loader.opened)

    for name in sight:
        with pytest.raises(Unavailable):
            await engine.predict(request(name))
