"""Settings that an operator changes while the server runs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from service.settings.rereading import Reread
from service.settings.settings import load_settings
from service.telemetry.logs import is_logged
from service.web.runtime_settings import RUNTIME_SETTINGS, RuntimeSettings
from tests.support.admin import admin_client, bearer, write_token
from tests.support.clients import make_app, open_client
from tests.support.fakes import FakeEngine, FakeModel
from tests.support.logging_state import restored_logging

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SETTINGS = "/v1/admin/settings"
PREDICT = "/v1/models/half:predict"


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    with restored_logging():
        yield


async def test_settings_are_changed_and_in_force(tmp_path: Path) -> None:
    engine = FakeEngine(FakeModel())
    changes: dict[str, Any] = {
        "log_level": "error",
        "max_body_bytes": 20,
        "max_bodies_bytes": "1KiB",
        "max_queue": 7,
        "memory_budget": "2GiB",
    }

    async with admin_client(engine, tmp_path) as client:
        body = {"instances": [1.0, 2.0, 3.0, 4.0]}
        before = await client.post(PREDICT, json=body)
        changed = await client.patch(SETTINGS, json=changes)
        after = await client.post(PREDICT, json=body)
        shown = await client.get(SETTINGS)

    assert (before.status_code, after.status_code) == (200, 413)
    assert "20 bytes" in after.json()["error"]
    assert (engine.max_queue, engine.budget) == (7, 2 << 30)
    assert not is_logged(logging.WARNING)
    assert (
        changed.json()
        == shown.json()
        == {"settings": {**changes, "max_bodies_bytes": 1024, "memory_budget": 2 << 30}}
    )


async def test_default_comes_back_with_null(tmp_path: Path) -> None:
    engine = FakeEngine(FakeModel())

    async with admin_client(engine, tmp_path) as client:
        await client.patch(SETTINGS, json={"memory_budget": "1GiB"})
        answer = await client.patch(SETTINGS, json={"memory_budget": None})

    assert answer.json()["settings"]["memory_budget"] is None
    assert engine.budget is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"port": 80}, ["port can't be changed", "--port"], id="fixed"),
        pytest.param({"max_que": 1}, ["'max_que'", "mean max_queue?"], id="misspelt"),
        pytest.param({"max_queue": -1}, ["max_queue", "at least", "-1"], id="low"),
        pytest.param({"max_queue": "many"}, ["max_queue", "whole number"], id="text"),
        pytest.param({"max_queue": True}, ["max_queue"], id="bool"),
        pytest.param({"log_level": "loud"}, ["log_level", "'debug'"], id="level"),
        pytest.param({"memory_budget": "4G"}, ["memory_budget", "4G"], id="unit"),
        pytest.param({"memory_budget": 5}, ["memory_budget", "5"], id="tiny"),
        pytest.param({}, ["at least 1"], id="nothing"),
        pytest.param(
            {"log_level": "debug", "max_queue": "x"}, ["max_queue"], id="one of two"
        ),
    ],
)
async def test_wrong_changes_change_nothing(
    tmp_path: Path, changes: dict[str, Any], words: list[str]
) -> None:
    async with admin_client(FakeEngine(FakeModel()), tmp_path) as client:
        before = await client.get(SETTINGS)
        refused = await client.patch(SETTINGS, json=changes)
        after = await client.get(SETTINGS)

    assert refused.status_code == 400
    for word in words:
        assert word in refused.json()["error"]

    assert before.json() == after.json()


async def test_changes_need_the_token_and_are_logged(tmp_path: Path) -> None:
    app = make_app(FakeEngine(), admin_token_file=write_token(tmp_path / "token"))

    with structlog.testing.capture_logs() as lines:
        async with open_client(app) as client:
            for method in ("GET", "PATCH"):
                refused = await client.request(method, SETTINGS, json={"max_queue": 2})
                assert refused.status_code == 401

            await client.patch(SETTINGS, json={"max_queue": 2}, headers=bearer())

    [act] = [line for line in lines if line["event"] == "admin act"]
    assert (act["act"], act["settings"]) == ("change_settings", {"max_queue": 2})


def runtime(engine: FakeEngine, **flags: Any) -> RuntimeSettings:
    found: RuntimeSettings = make_app(engine, **flags).extensions[RUNTIME_SETTINGS]
    return found


def test_settings_that_are_read_again_change_what_they_can() -> None:
    engine = FakeEngine()
    settings = runtime(engine)
    before, now = (
        load_settings(models="/", max_queue=queue, grace=grace)
        for queue, grace in ((5, 1), (6, 2))
    )

    with structlog.testing.capture_logs() as lines:
        settings.adopt(Reread(before, now))

    assert engine.max_queue == settings.values()["max_queue"] == 6
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("settings read again", "info"),
        ("settings not changed: they need a restart", "warning"),
    ]
    assert lines[0]["changed"] == {"max_queue": 6}
    assert lines[1]["settings"] == ["grace"]


def test_changes_by_a_call_stay_where_the_file_did_not_change() -> None:
    settings = runtime(FakeEngine())
    settings.change({"max_queue": 3, "max_bodies_bytes": 4096})
    before, now = (load_settings(models="/", max_queue=queue) for queue in (5, 6))

    settings.adopt(Reread(before, now))

    assert settings.values()["max_queue"] == 6
    assert settings.values()["max_bodies_bytes"] == 4096
