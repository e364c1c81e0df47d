from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from service.settings.rereading import Reread, SettingsReader, adopting
from service.settings.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_newer_file_is_read_with_the_flags_and_variables_of_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("max-queue = 5\ntimeout = 9\ngrace = 1\n")
    monkeypatch.setenv("TANDEM_TIMEOUT", "7")
    flags: dict[str, Any] = {"models": "/", "config": str(file), "grace": 2}
    reader = SettingsReader(load_settings(**flags), flags)
    # As the server does for its workers.
    monkeypatch.setenv("TANDEM_TIMEOUT", "1")
    monkeypatch.setenv("TANDEM_MAX_QUEUE", "1")
    file.write_text("max-queue = 6\ntimeout = 10\ngrace = 3\n")
    found = reader.read()

    assert found is not None
    assert found.changed == ["max_queue"]
    assert (found.before.max_queue, found.now.max_queue) == (5, 6)
    assert (found.now.timeout, found.now.grace) == (7, 2)
    again = reader.read()
    assert again is not None
    assert again.changed == []


def test_a_wrong_file_is_told_and_leaves_all_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("max-queue = 5\n")
    flags: dict[str, Any] = {"models": "/", "config": str(file)}
    reader = SettingsReader(load_settings(**flags), flags)
    adopted: list[Reread] = []

    with adopting(adopted.append), structlog.testing.capture_logs() as lines:
        file.write_text("max-queue = many\n")
        reader.read_for_all()
        assert adopted == []
        file.write_text("max-queue = 8\n")
        reader.read_for_all()

    assert [line["event"] for line in lines] == ["settings not read again"]
    assert str(file) in lines[0]["reason"]
    [reread] = adopted
    assert (reread.before.max_queue, reread.now.max_queue) == (5, 8)
    reader.read_for_all()
    assert len(adopted) == 1
