from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from inference import EngineConfig
from service.composition import engine_config, response_cache
from service.settings.settings import load_settings
from tests import PROJECT


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TANDEM_")]:
        monkeypatch.delenv(name)


def config(**flags: Any) -> Any:
    return engine_config(load_settings(models="/", **flags))


@pytest.mark.parametrize(("workers", "share"), [(1, 4 << 30), (4, 1 << 30)])
def test_processes_share_the_memory_budget(workers: int, share: int) -> None:
    assert config(memory_budget="4GiB", workers=workers).memory_budget == share


def test_processes_share_the_default_budget() -> None:
    whole = EngineConfig(repository=Path("/"), cache=Path("/")).budget

    assert config().memory_budget == whole
    assert config(workers=2).memory_budget == whole // 2


def test_permissions_reach_the_engine() -> None:
    made = config(allow_ops="A,B", allow_classes="m>C", scan_seconds=0.5)

    assert made.permissions.allow_ops == ("A", "B")
    assert made.permissions.allow_classes == ("m>C",)
    assert made.scan_seconds == 0.5


async def test_processes_share_the_memory_of_the_response_cache() -> None:
    settings = load_settings(models="/", response_cache="4KiB", workers=4)
    cache = response_cache(settings)
    assert cache is not None

    async with cache:
        store = cache._store
        assert await store.put("small", bytes(100), 60)
        assert not await store.put("large", bytes(1024), 60)


def test_there_is_no_response_cache_unless_it_is_wanted() -> None:
    assert response_cache(load_settings(models="/")) is None


COMPOSE = """
import sys
from service.composition import compose
from service.settings.settings import load_settings

compose(load_settings(models="/", traces=sys.argv[1] == "on"))
print(any(name.startswith("opentelemetry.sdk") for name in sys.modules))
"""


@pytest.mark.parametrize(("traces", "imported"), [("off", "False"), ("on", "True")])
def test_opentelemetry_is_imported_for_traces_alone(traces: str, imported: str) -> None:
    command = [sys.executable, "-c", COMPOSE, traces]
    ended = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, check=True
    )

    assert ended.stdout.strip() == imported
