from __future__ import annotations

import re
from typing import Any

import click
import pytest
from click.testing import CliRunner

from service.cli.flags import duration, settings_flags
from service.cli.main import main
from service.settings.compiler import PREFIX
from service.settings.groups import GROUPS
from service.settings.settings import Settings


def given(*args: str) -> dict[str, Any]:
    seen: dict[str, Any] = {}

    @click.command()
    @settings_flags(Settings, skip={"models"})
    def command(**flags: Any) -> None:
        seen.update(flags)

    result = CliRunner().invoke(command, args)
    assert result.exit_code == 0, result.output
    return seen


def test_every_setting_has_a_flag_and_is_unset_by_default() -> None:
    assert given() == dict.fromkeys(Settings.model_fields.keys() - {"models"})


def test_flags_are_passed_on_unchanged() -> None:
    flags = given("--port", "80", "--no-screen", "--log-format", "json")

    assert {name: value for name, value in flags.items() if value is not None} == {
        "port": "80",
        "screen": False,
        "log_format": "json",
    }


def test_list_flags_may_be_repeated() -> None:
    folders = ("--follow-links-to", "/a", "--follow-links-to", "/b,/c")
    flags = given(*folders, "--allow-ops", "A,B")

    assert flags["follow_links_to"] == ("/a", "/b,/c")
    assert flags["allow_ops"] == ("A,B",)
    assert flags["allow_classes"] is None


def read(text: str) -> float:
    option = click.Option(["--timeout"])
    return duration(click.Context(main), option, text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 30.0), ("30s", 30.0), ("500ms", 0.5), ("2 min", 120.0)]
)
def test_commands_take_durations_with_units(text: str, seconds: float) -> None:
    assert read(text) == seconds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "must be more than 0"),
        ("-1s", "must be more than 0"),
        ("soon", "can't be read; write 30s"),
        ("3 weeks", "is not a duration; write 30s"),
    ],
)
def test_other_durations_are_refused(text: str, message: str) -> None:
    with pytest.raises(click.BadParameter, match=message):
        read(text)


def test_help_shows_flag_variable_default_and_meaning() -> None:
    text = " ".join(CliRunner().invoke(main, ["serve", "--help"]).output.split())

    for name, field in Settings.model_fields.items():
        if name != "models":
            assert f"--{name.replace('_', '-')}" in text
            assert f"[{PREFIX}{name.upper()}]" in text
            assert field.description
            assert " ".join(field.description.split()) in text

    assert "(default: 8501)" in text
    assert "--memory-budget SIZE" in text
    assert "--allow-ops A,B" in text
    assert "--follow-links-to FOLDER" in text
    assert "--admin-token-file PATH" in text
    assert "(default: ())" not in text
    assert "(default: )" not in text


def test_help_shows_flags_in_groups() -> None:
    text = CliRunner().invoke(main, ["serve", "--help"]).output
    # A group's title stands at the margin, a flag is indented.
    titles = re.findall(r"^(\S.*):$", text, re.MULTILINE)

    assert titles == [*GROUPS, "Other options"]
    for number, (title, group) in enumerate(GROUPS.items()):
        section = text.partition(f"{title}:\n")[2].partition(f"{titles[number + 1]}:\n")
        shown = re.findall(r"^  (--[a-z-]+)", section[0], re.MULTILINE)
        names = [f"--{name.replace('_', '-')}" for name in group.model_fields]
        assert shown == [name for name in names if name != "--models"]


def test_every_setting_is_in_one_group() -> None:
    grouped = [name for group in GROUPS.values() for name in group.model_fields]

    assert sorted(grouped) == sorted(Settings.model_fields)
