from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from service.settings.payloads import payload_place
from service.settings.settings import SettingsError, load_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("url", ["http://events:8080/a?b=c", "https://events.example"])
def test_urls_stay_as_they_are(url: str) -> None:
    assert payload_place(url) == url


def test_a_file_is_known_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert payload_place("payloads.jsonl") == str(tmp_path / "payloads.jsonl")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("/", "/ is a folder; name a file"),
        ("/nowhere/payloads", "there is no folder /nowhere"),
        ("kafka://events/topic", "must be a file, or a URL of http or https"),
        ("http:///events", "names no host"),
    ],
)
def test_other_places_are_refused(place: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load_settings(models="/", payload_log=place)


@pytest.mark.parametrize("share", [0, 1.5, -1])
def test_shares_are_of_one(share: float) -> None:
    with pytest.raises(SettingsError, match="payload-log-share"):
        load_settings(models="/", payload_log_share=share)


def test_settings_reach_another_process() -> None:
    settings = load_settings(
        models="/",
        payload_log="http://events",
        payload_log_share="0.5",
        payload_log_max_bytes="1KiB",
        payload_log_redact="age,name",
    )
    again = load_settings(environ=settings.to_environment())

    assert again.payload_log == "http://events"
    assert again.payload_log_share == 0.5
    assert again.payload_log_max_bytes == 1024
    assert again.payload_log_redact == ("age", "name")
