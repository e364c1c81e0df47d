"""The command line without models to compile; the rest is in `tests/e2e`."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from service.cli.main import configured_url, main

if TYPE_CHECKING:
    from pathlib import Path


def test_version() -> None:
    result = CliRunner().invoke(main, ["--version"])

    assert result.output == f"tandem-serving {version('tandem-serving')}\n"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        pytest.param(["serve"], "models", id="no models"),
        pytest.param(["serve", "/none/there"], "does not exist", id="no such path"),
        pytest.param(["serve", ".", "--port", "x"], "port", id="port is no number"),
        pytest.param(["serve", ".", "--port", "70000"], "65535", id="port too large"),
        pytest.param(
            ["serve", ".", "--config", "/none.toml"], "config", id="no config"
        ),
        pytest.param(
            ["inspect", "/none/there"], "does not exist", id="inspect nothing"
        ),
        pytest.param(["compile", "."], "--output", id="compile to nowhere"),
        pytest.param(
            ["compile", ".", "--output", "x", "--compile-memory", "much"],
            "write 64MiB",
            id="no size",
        ),
        pytest.param(
            ["inspect", ".", "--compile-timeout", "0"], "more than 0", id="no time"
        ),
    ],
)
def test_mistakes_are_explained_and_exit_with_2(args: list[str], words: str) -> None:
    result = CliRunner().invoke(main, args, env={"TANDEM_MODELS": None})

    assert result.exit_code == 2
    assert words in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", ["inspect", "compile"])
def test_a_folder_without_models_exits_with_1(tmp_path: Path, command: str) -> None:
    args = {
        "inspect": ["--cache-dir", str(tmp_path / "cache")],
        "compile": ["--output", str(tmp_path / "cache")],
    }
    empty = tmp_path / "empty"
    empty.mkdir()

    result = CliRunner().invoke(main, [command, str(empty), *args[command]])

    assert result.exit_code == 1
    assert "There is no model here: give" in result.output


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        pytest.param({}, "http://127.0.0.1:8501", id="nothing"),
        pytest.param({"TANDEM_PORT": "9000"}, "http://127.0.0.1:9000", id="port"),
        pytest.param(
            {"TANDEM_HOST": "0.0.0.0", "TANDEM_PORT": "80"},
            "http://127.0.0.1:80",
            id="every address",
        ),
        pytest.param({"TANDEM_URL": "https://m.test"}, "https://m.test", id="URL"),
        pytest.param({"TANDEM_PORT": "0"}, "http://127.0.0.1:8501", id="any port"),
        pytest.param({"TANDEM_PORT": "x"}, "http://127.0.0.1:8501", id="a mistake"),
    ],
)
def test_inspect_shows_calls_of_the_configured_server(
    variables: dict[str, str],
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert configured_url(tmp_path) == url
