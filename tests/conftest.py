from __future__ import annotations

import gc
import signal
import sys
from functools import cache
from typing import TYPE_CHECKING

import pytest

from tests import PROJECT
from tests.support.compiled_cases import GROUP_OF, CompiledCases
from tests.support.logging_state import configure_plain_logging, restored_logging
from tests.support.shared import shared_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Under `nohup` the servers that tests start would ignore it, as they inherit that; what
# is handled isn't inherited.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)

configure_plain_logging()

SLOW = tuple(
    PROJECT / "tests" / name
    for name in (
        *("benchmarks", "crafted", "demo", "deploy", "e2e", "test_asgi.py"),
        *("test_monitoring.py", "test_wheel.py"),
        *("inference/artifacts", "inference/compiler", "inference/formats"),
        *("inference/inputs", "inference/runtime"),
        *("inference/test_backend.py", "inference/test_dtypes.py"),
        *("inference/test_disk_threads.py", "inference/test_engine.py"),
        "inference/batching/test_batcher_soak.py",
        *("inference/lifecycle/test_instance.py", "inference/lifecycle/test_model.py"),
        "inference/lifecycle/test_manager_soak.py",
        "inference/lifecycle/test_sampling.py",
        *("inference/repository/test_keras_folders.py", "inference/system"),
        *("service/bridge/test_bridge_sockets.py", "service/bridge/test_loop_holds.py"),
        *("service/cli/test_admin.py", "service/cli/test_jobs.py"),
        *("service/cli/test_predict.py", "service/codecs/json/test_reader.py"),
        "service/decoding/test_pool.py",
        "service/settings/test_permissions.py",
        *("service/server/test_clients.py", "service/server/test_workers.py"),
        *("service/routes/test_job_events.py", "service/routes/test_rows.py"),
        *("service/web/test_flask_equivalence.py", "service/jobs/test_agreement.py"),
    )
)
"""Tests that start TensorFlow, a server or a compiler, or take long otherwise."""

SLOW_FIXTURES = {"compiled"}

LONGEST = tuple(
    PROJECT / "tests" / name
    for name in (
        *("crafted/test_corpus.py", "e2e/test_jobs.py"),
        *("inference/formats/test_formats.py", "e2e/test_serve.py"),
        *("benchmarks/test_main.py", "e2e/test_shared_jobs.py"),
        *("e2e/test_budget.py", "e2e/test_eviction.py", "demo"),
        "deploy/test_documented_commands.py",
    )
)
"""These take half a minute or more, and so begin first, in this order."""

SHARED_SERVER = "living"
"""The fixture of a server that ends where other tests run between those that use it."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    # To import a slow module is to import TensorFlow.
    fast = config.getoption("-m") == "not slow"
    return True if fast and _is_slow(collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))

        if _is_slow(item.path) or fixtures & SLOW_FIXTURES:
            item.add_marker(pytest.mark.slow)

    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    """Return the group in which a test runs: no process ends alone with a long one."""
    if (turn := _long_turn(item.path)) is not None:
        return turn

    if SHARED_SERVER in getattr(item, "fixturenames", ()):
        return len(LONGEST)

    return len(LONGEST) + (1 if _is_slow(item.path) else 2)


@cache
def _long_turn(path: Path) -> int | None:
    turns = (n for n, each in enumerate(LONGEST) if path.is_relative_to(each))
    return next(turns, None)


def pytest_collection_finish() -> None:
    # A compiler collects garbage several times a model, and would look through all that
    # was imported and collected so far each time.
    gc.collect()
    gc.freeze()
    # Nor is it to be looked through after every 700 new objects.
    gc.set_threshold(20_000)


@cache
def _is_slow(path: Path) -> bool:
    return any(path.is_relative_to(each) for each in SLOW)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def fresh_layer_names() -> None:
    """Let Keras count its layers' names anew, whatever ran before in this process."""
    for name in ("keras.src.utils.naming", "tf_keras.src.backend"):
        if name in sys.modules:
            sys.modules[name].reset_uids()


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    """Undo what a test's server or command sets for the logs of its process."""
    with restored_logging():
        yield


@pytest.fixture(scope="session")
def compiled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CompiledCases]:
    """The test models, being compiled: those that tests are parametrised by first."""
    cases = CompiledCases(shared_folder(tmp_path_factory) / "cases")

    for item in request.session.items:
        callspec = getattr(item, "callspec", None)

        for value in callspec.params.values() if callspec else ():
            if isinstance(value, str) and value in GROUP_OF:
                cases.want(value)

    yield cases
    cases.close()
