from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from inference import ModelId, ModelState, ModelStatus
from service.settings.settings import load_settings
from service.terminal.screen import is_wanted, render
from tests.support.fakes import signature, tensor

URL = "http://127.0.0.1:8501"


def shown(*models: ModelStatus, problems: tuple[str, ...] = ()) -> str:
    console = Console(file=io.StringIO(), width=80, soft_wrap=True)
    console.print(render(models, problems, load_settings(models="/", url=URL)))
    text = console.file
    assert isinstance(text, io.StringIO)
    return text.getvalue()


def available(name: str) -> ModelStatus:
    wide = signature(tensor("pixels", shape=(None, 8, 8)))
    return ModelStatus(
        id=ModelId(name, 1),
        path=f"/models/{name}.h5",
        state=ModelState.AVAILABLE,
        format="Keras .h5",
        default_signature="main",
        signatures={"main": wide},
    )


def test_a_model_shows_its_format_signature_url_and_command() -> None:
    text = shown(available("digits"))

    assert "digits  Keras .h5" in text
    assert "pixels: float32[?,8,8] → y: float32[...]" in text
    assert f"POST {URL}/v1/models/digits:predict" in text
    assert f"curl -d @- {URL}/v1/models/digits:predict\n" in text or "curl -d '" in text


def test_the_pages_for_people_are_named() -> None:
    title = f"serves at {URL}  (a page in a browser; calls: {URL}/docs)\n"
    assert title in shown(available("digits"))


def test_an_unserved_default_is_reported_and_another_shown_by_name() -> None:
    text = shown(
        replace(
            available("digits"),
            default_signature="usual",
            left_out={"usual": "'words' is a variant, which isn't a value"},
        )
    )

    assert '"signature_name": "main"' in text.replace('\\"', '"')
    assert "! digits: its default signature 'usual' isn't served: 'words'" in text


def test_no_line_is_cut_or_wrapped() -> None:
    """A wrapped command couldn't be pasted."""
    text = shown(available("a-rather-long-name-for-a-model-of-digits"))

    command = next(line for line in text.splitlines() if "curl" in line)
    assert len(command) > 80
    assert command.endswith(":predict")


def test_a_broken_model_shows_its_reason() -> None:
    broken = ModelStatus(
        id=ModelId("bad", 1),
        path="bad.h5",
        state=ModelState.END,
        error="bad.h5 is empty [0 bytes].",
    )

    text = shown(available("good"), broken)

    assert "✗ bad" in text
    assert "bad.h5 is empty [0 bytes]." in text
    assert "● good" in text


def test_versions_of_a_model_are_shown_as_one() -> None:
    old = replace(available("ranking"), id=ModelId("ranking", 3), labels=("stable",))
    new = replace(old, id=ModelId("ranking", 4), labels=(), format="SavedModel")

    text = shown(old, new)

    assert "● ranking  SavedModel  version 3 (stable), version 4\n" in text
    assert text.count(f"POST {URL}/v1/models/ranking:predict") == 1


def test_a_version_that_failed_is_shown_below_the_one_that_answers() -> None:
    broken = ModelStatus(
        id=ModelId("ranking", 5), path="5", state=ModelState.END, error="5 is cut."
    )

    text = shown(available("ranking"), broken)

    assert "● ranking  Keras .h5\n" in text
    assert "✗ ranking/5\n  5 is cut.\n" in text


def test_an_update_that_failed_is_shown_beside_what_answers() -> None:
    text = shown(replace(available("ranking"), update_error="it is cut."))

    assert "● ranking" in text
    assert "! ranking: its present files aren't served: it is cut." in text


def test_a_model_without_signatures_shows_its_state() -> None:
    unloaded = ModelStatus(id=ModelId("big", 1), path="big.h5", state=ModelState.END)

    assert "● big  END\n" in shown(unloaded)


def test_problems_are_shown() -> None:
    assert "! notes: holds no model." in shown(problems=("notes: holds no model.",))


def test_an_empty_repository_is_reported() -> None:
    text = shown()
    assert "There is no model in /." in text
    assert "the running server will find them." in text


def test_without_scans_a_restart_is_advised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TANDEM_SCAN_SECONDS", "0")
    assert "SavedModel folders, and restart the server." in shown()


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        pytest.param({"url": URL, "screen": True}, True, id="asked for"),
        pytest.param({"url": URL, "screen": False}, False, id="not wanted"),
        pytest.param({"url": URL}, False, id="no terminal"),
        pytest.param({"screen": True}, False, id="no URL to show"),
    ],
)
def test_is_wanted(
    flags: dict[str, Any], wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())

    assert is_wanted(load_settings(models="/", **flags)) is wanted
