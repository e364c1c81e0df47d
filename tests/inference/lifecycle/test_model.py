"""One version: its states and its requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from inference.errors import (
    LoadFailed,
    ModelLoading,
    ModelUnloaded,
    Unavailable,
)
from inference.lifecycle.model import Model
from inference.types import ModelId, ModelState, QueueStats
from tests.support.echo import (
    Held,
    ask,
    available,
    echo,
    instance_of,
    new,
    prepared,
)
from tests.support.graphs import compile_graph

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inference.artifacts.artifact import Artifact


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return compile_graph(tmp_path_factory.mktemp("echo"), echo)


@pytest.fixture
def servable(artifact: Artifact) -> Iterator[Held]:
    with Held(artifact) as servable:
        yield servable


def check(model: Model) -> list[Callable[[], object]]:
    """Return the methods that refuse requests of a model that isn't available."""
    return [model.check, model.admit, lambda: model.deadline(0.0, None)]


async def test_states_on_the_way_to_available(servable: Held) -> None:
    model, states = new()
    assert (model.status().state, model.settled) == (ModelState.START, False)

    model.begin("reading")
    assert (model.status().stage, model.settled) == ("reading", False)

    for refuse in check(model):
        with pytest.raises(ModelLoading, match=r"'echo' is still loading \(reading\)"):
            refuse()

    model.succeed(prepared(servable))
    model.install(instance_of(servable))
    model.admit()
    status = model.status()
    assert (status.state, status.stage, status.error) == ("AVAILABLE", "", None)
    assert status.format == "frozen graph"
    assert status.default_signature == "serving_default"
    assert list(status.signatures) == ["serving_default"]
    assert (status.concurrency, status.load_seconds) == (2, 0.5)
    assert (status.memory_bytes, status.last_used) == (5000, None)
    assert status.queue == QueueStats()
    assert model.settled

    model.begin_unload()
    assert (model.status().state, model.settled) == (ModelState.UNLOADING, False)
    model.finish_unload()
    assert model.status().state is ModelState.END
    assert model.status().signatures == {}
    model.finish_unload()
    assert states[:-1] == ["LOADING", "AVAILABLE", "AVAILABLE", "UNLOADING", "END"]


def test_error_names_the_version_if_there_may_be_others() -> None:
    model = Model(ModelId("echo", 3), "echo", changed=lambda: None)
    model.fail("the file is cut.")

    with pytest.raises(LoadFailed, match=r"^Version 3 of model 'echo' could not be"):
        model.check()


def test_states_on_the_way_to_failed() -> None:
    model, states = new()
    model.begin("reading")
    model.fail("the file is cut")

    status = model.status()
    assert (status.state, status.error) == (ModelState.END, "the file is cut")
    assert model.settled

    for refuse in check(model):
        with pytest.raises(LoadFailed, match="'echo' could not be loaded: the file is"):
            refuse()

    model.finish_unload()
    assert model.status().error == "the file is cut"
    assert states == ["LOADING", "END", "END"]


def test_failed_update_leaves_the_serving_files(servable: Held) -> None:
    model, _ = new()
    model.succeed(prepared(servable))
    assert model.current
    model.begin("reading")
    assert (model.state, model.status().stage) == (ModelState.AVAILABLE, "reading")

    model.fail("the file is cut")
    status = model.status()
    assert (status.state, status.stage) == (ModelState.AVAILABLE, "")
    assert (status.error, status.update_error) == (None, "the file is cut")
    assert not model.current
    model.admit()

    model.succeed(prepared(servable))
    assert (model.current, model.status().update_error) == (True, None)


def test_call_before_loading_is_refused() -> None:
    model, _ = new()

    with pytest.raises(ModelLoading, match="still loading; retry"):
        model.deadline(0.0, None)


def test_call_of_an_unloaded_version_is_refused(servable: Held) -> None:
    model, _ = new()
    model.succeed(prepared(servable))
    model.unloaded = True
    assert (model.state, model.withdrawn) == (ModelState.END, True)

    for refuse in check(model):
        with pytest.raises(ModelUnloaded, match="an operator can load it again"):
            refuse()

    model.unloaded = False
    model.admit()


def test_call_of_a_retiring_version_is_refused(servable: Held) -> None:
    model, _ = new()
    model.succeed(prepared(servable))
    model.begin_unload()

    for refuse in check(model):
        with pytest.raises(ModelUnloaded, match="Version 3 .* its files are gone"):
            refuse()

    model.finish_unload()

    for refuse in check(model):
        with pytest.raises(ModelUnloaded):
            refuse()


async def test_call_during_an_unload_is_refused(servable: Held) -> None:
    async with available(servable) as model:
        pass

    with pytest.raises(Unavailable, match="being unloaded"):
        await ask(model)


async def test_settings_survive_an_eviction(servable: Held) -> None:
    model, _ = new()
    model.succeed(prepared(servable))
    model.install(instance_of(servable))
    assert model.status().concurrency == 2
    model.resize(5)
    assert model.status().concurrency == 5

    assert model.uninstall() is not None
    status = model.status()
    assert (status.state, status.memory_bytes) == (ModelState.AVAILABLE, 0)
    assert (status.concurrency, status.load_seconds) == (None, None)
    assert list(status.signatures) == ["serving_default"]

    model.install(instance_of(servable))
    assert model.status().concurrency == 5
