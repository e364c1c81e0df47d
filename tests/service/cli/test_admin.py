"""The commands against a real server whose engine is a fake."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from inference import ModelState
from service.bridge.bridge import Bridge
from service.cli.main import main
from tests.support.admin import TOKEN, write_token
from tests.support.clients import make_app
from tests.support.fakes import FakeEngine, FakeModel
from tests.support.logging_state import restored_logging
from tests.support.servers import serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result


class Operator:
    """A runner of commands against one server."""

    def __init__(self, engine: FakeEngine, url: str, token: Path) -> None:
        self.engine = engine
        self.url = url
        self.token = token

    def run(self, *args: str, env: dict[str, str] | None = None) -> Result:
        known = {"TANDEM_SERVER": self.url, "TANDEM_ADMIN_TOKEN_FILE": str(self.token)}
        return CliRunner().invoke(main, args, env=known | (env or {}))

    def versions(self) -> dict[str, FakeModel]:
        return {str(model.status.id): model for model in self.engine.all_models}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TANDEM_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    engine = FakeEngine(
        FakeModel(
            name="ranking",
            version=3,
            labels=("stable",),
            pinned=True,
            memory_bytes=3 << 20,
            last_used=1_700_000_000.0,
        ),
        FakeModel(name="ranking", version=4, update_error="cut \x1b[2J short"),
        FakeModel(name="bad", state=ModelState.END, error="no layer", broken="no file"),
    )
    token = write_token(tmp_path / "token")
    app = make_app(engine, admin_token_file=token)
    # The server's log would be mixed with the commands' output.
    with capture_logs(), serve(Bridge(app)) as address:
        yield Operator(engine, address.url, token)


def test_models_is_a_table(operator: Operator) -> None:
    result = operator.run("models", env={"TANDEM_ADMIN_TOKEN_FILE": ""})

    lines = [line.split() for line in result.output.splitlines()]
    assert result.exit_code == 0
    assert lines[0][:6] == ["name", "version", "state", "labels", "format", "memory"]
    assert lines[1] == ["bad", "1", "failed", "saved_model", "0", "bytes", "never"]
    assert lines[2][:6] == ["ranking", "3", "AVAILABLE", "stable", "saved_model", "3.0"]
    assert lines[2][6:8] == ["MiB", "pinned"]
    assert lines[2][8].startswith("2023-11-1")
    assert "! bad/1: no layer" in result.output


def test_texts_of_the_server_are_escaped(operator: Operator) -> None:
    result = operator.run("models")

    assert "ranking/4: its present files aren't served: cut \\x1b[2J short" in (
        result.output
    )
    assert "\x1b" not in result.output


def test_models_as_json(operator: Operator) -> None:
    document = json.loads(operator.run("models", "--json").output)

    assert [model["name"] for model in document["models"]] == ["bad", "ranking"]
    assert document["models"][1]["versions"][0]["labels"] == ["stable"]


def test_no_models(operator: Operator) -> None:
    operator.engine.all_models.clear()

    assert operator.run("models").output == "There is no model.\n"


def test_an_unreadable_repository_is_reported(operator: Operator) -> None:
    operator.engine.unreadable = "Input/output error"

    assert "can't be read: Input/output error" in operator.run("models").output


def test_unload_and_load(operator: Operator) -> None:
    unload = operator.run("unload", "ranking")
    states = [model.state for model in operator.versions().values()]
    load = operator.run("load", "ranking/4")

    assert (unload.exit_code, load.exit_code) == (0, 0)
    assert states == ["END", "END", "END"]
    assert operator.versions()["ranking/3"].state == "END"
    assert operator.versions()["ranking/4"].state == "AVAILABLE"
    assert "AVAILABLE" in load.output


def test_label(operator: Operator) -> None:
    result = operator.run("label", "ranking", "canary=4", "stable=-")

    assert result.exit_code == 0
    assert operator.versions()["ranking/4"].labels == ("canary",)
    assert operator.versions()["ranking/3"].labels == ()


def test_pin(operator: Operator) -> None:
    operator.run("pin", "ranking/4")
    operator.run("pin", "ranking/3", "--off")

    pinned = [model.pinned for model in operator.versions().values()]
    assert pinned == [False, False, True]


def test_concurrency(operator: Operator) -> None:
    result = operator.run("concurrency", "ranking/4", "7")

    assert result.exit_code == 0
    assert operator.versions()["ranking/4"].concurrency == 7
    assert operator.versions()["ranking/3"].concurrency != 7


def test_settings_are_shown_and_changed(operator: Operator) -> None:
    with restored_logging():
        changed = operator.run("settings", "max-queue=64", "log-level=warning")
        shown = operator.run("settings", "--json")
        refused = operator.run("settings", "port=80")
        wrong = operator.run("settings", "max-queue")

        assert changed.exit_code == 0, changed.output
        assert "max-queue = 64\n" in changed.output
        assert "memory-budget = auto\n" in changed.output
        assert json.loads(shown.output)["settings"]["log_level"] == "warning"
        assert operator.engine.max_queue == 64
        assert refused.exit_code == 1
        assert "port can't be changed while the server runs" in refused.output
        assert wrong.exit_code == 2
        assert "NAME=VALUE" in wrong.output


def test_drain(operator: Operator) -> None:
    on = operator.run("drain")
    was = operator.engine.draining
    off = operator.run("drain", "--off", "--json")

    assert (on.output, was) == ("draining\n", True)
    assert json.loads(off.output) == {"draining": False}


def test_rescan(operator: Operator) -> None:
    operator.engine.found = [FakeModel(name="new")]
    operator.engine.scan_problems = ["notes: holds no model."]
    operator.engine.all_models = []

    result = operator.run("rescan")

    assert result.exit_code == 0
    assert "new" in result.output
    assert "! notes: holds no model." in result.output


@pytest.mark.parametrize(
    ("state", "error", "update_error"),
    [
        pytest.param(ModelState.END, "no file", None, id="not served"),
        pytest.param(ModelState.AVAILABLE, None, "no file", id="former files served"),
    ],
)
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["table", "JSON"])
def test_a_rescan_that_finds_a_broken_version_fails(
    operator: Operator,
    state: ModelState,
    error: str | None,
    update_error: str | None,
    form: list[str],
) -> None:
    operator.engine.all_models = [
        FakeModel(
            name="new", version=7, state=state, error=error, update_error=update_error
        )
    ]

    result = operator.run("rescan", *form)

    assert result.exit_code == 6
    assert "new/7" in result.stderr
    assert "no file" in result.stdout


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        pytest.param(["load", "gone"], 5, "gone", id="no such model"),
        pytest.param(["load", "ranking/9"], 5, "9", id="no such version"),
        pytest.param(["load", "bad"], 6, "no file", id="it fails"),
        pytest.param(["label", "ranking", "0=4"], 1, "pattern", id="no label"),
        pytest.param(["label", "ranking", "stable"], 2, "LABEL=-", id="no version"),
        pytest.param(["label", "ranking", "a=x"], 2, "LABEL=-", id="no number"),
        pytest.param(["label", "ranking"], 2, "LABEL=VERSION", id="no labels"),
        pytest.param(["concurrency", "bad", "65"], 1, "at most 64", id="too many"),
        pytest.param(["concurrency", "bad", "x"], 2, "integer", id="no integer"),
        pytest.param(["load", "ranking/x"], 2, "NAME/VERSION", id="no number of one"),
        pytest.param(["load", "ranking/03"], 2, "NAME/VERSION", id="leading zeros"),
        pytest.param(["label", "ranking", "a=03"], 2, "LABEL=-", id="label of zeros"),
        pytest.param(["load", "ranking/"], 2, "NAME/VERSION", id="no version of one"),
        pytest.param(["load", "../../livez"], 2, "NAME/VERSION", id="another URL"),
        pytest.param(["models", "--server", "h:1"], 2, "http://", id="no URL"),
        pytest.param(["models", "--timeout", "0"], 2, "timeout", id="no time"),
    ],
)
def test_failures(operator: Operator, args: list[str], code: int, words: str) -> None:
    result = operator.run(*args)

    assert result.exit_code == code
    assert words in result.output
    assert "Traceback" not in result.output
    # A usage error prints the usage too.
    assert code == 2 or len(result.output.splitlines()) == 1


def test_an_unreachable_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    result = CliRunner().invoke(
        main, ["models", "--server", f"http://127.0.0.1:{port}"]
    )

    assert result.exit_code == 3
    assert len(result.output.splitlines()) == 1
    assert "refused" in result.output


@pytest.mark.parametrize(
    ("env", "code"),
    [
        pytest.param({}, 2, id="none"),
        pytest.param({"TANDEM_ADMIN_TOKEN": TOKEN}, 0, id="in a variable"),
        pytest.param({"TANDEM_ADMIN_TOKEN": f" {TOKEN}\n"}, 0, id="with white space"),
        pytest.param({"TANDEM_ADMIN_TOKEN": "wrong" * 5}, 4, id="a wrong one"),
        pytest.param({"TANDEM_ADMIN_TOKEN": "a b\nc: d" * 5}, 2, id="not a token"),
        pytest.param({"TANDEM_ADMIN_TOKEN_FILE": "/none/there"}, 2, id="no file"),
    ],
)
def test_sources_of_the_token(
    operator: Operator, env: dict[str, str], code: int
) -> None:
    operator.engine.all_models = []

    result = operator.run("rescan", env={"TANDEM_ADMIN_TOKEN_FILE": "", **env})

    assert result.exit_code == code, result.output
    assert "wrongwrong" not in result.output


def test_a_given_token_file_has_priority(operator: Operator, tmp_path: Path) -> None:
    wrong = write_token(tmp_path / "wrong", "wrong-token-of-length")

    assert operator.run("rescan", "--token-file", str(wrong)).exit_code == 4
