"""`tandem jobs` against a real server whose engine is a fake."""

from __future__ import annotations

import json
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from service.cli.main import main
from tests.support.fakes import FakeModel
from tests.support.jobs import make_job_app
from tests.support.servers import serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from click.testing import Result

PREDICT = "/v1/models/half:predict"
BODY = {"instances": [1.0, 2.0]}


class Operator:
    """A runner of `tandem jobs` against one server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def submit(self, model: str = "half") -> str:
        response = httpx.post(
            f"{self.url}/v1/models/{model}:predict",
            json=BODY,
            headers={"Prefer": "respond-async"},
        )
        assert response.status_code == 202, response.text
        id: str = response.json()["id"]
        return id

    def answer(self) -> bytes:
        return httpx.post(f"{self.url}{PREDICT}", json=BODY).content

    def run(self, *args: str) -> Result:
        env = {"TANDEM_SERVER": self.url}
        return CliRunner().invoke(main, ["jobs", *args], env=env)


@contextmanager
def operating(
    folder: Path, *models: FakeModel, runs: bool = True
) -> Iterator[Operator]:
    # The server's log would be mixed with the commands' output.
    with (
        capture_logs(),
        serve(make_job_app(folder / "jobs", *models, runs=runs)) as address,
    ):
        yield Operator(address.url)


def fail(_: Any) -> Any:
    raise RuntimeError("no \x1b[2J")


def test_list_is_a_table_with_the_newest_first(tmp_path: Path) -> None:
    with operating(tmp_path, runs=False) as operator:
        ids = [operator.submit(), operator.submit()]
        result = operator.run("list")

    lines = [line.split() for line in result.output.splitlines()]
    assert result.exit_code == 0, result.output
    assert lines[0][:4] == ["id", "model", "version", "status"]
    assert [line[0] for line in lines[1:]] == ids[::-1]
    assert lines[1][1:7] == ["half", "newest", "queued", "0/1", "requests", "0"]


def test_list_filters_and_tells_of_older_ones(tmp_path: Path) -> None:
    models = FakeModel(), FakeModel(name="other")

    with operating(tmp_path, *models, runs=False) as operator:
        old, other, new = (operator.submit(name) for name in ("half", "other", "half"))
        first = operator.run("list", "--model", "half", "--limit", "1")
        rest = operator.run("list", "--model", "half", "--before", new, "--json")
        none = operator.run("list", "--status", "failed")

    assert new in first.output
    assert f"! there are older ones: add --before {new}" in first.output
    assert [job["id"] for job in json.loads(rest.output)["jobs"]] == [old]
    assert other not in first.output + rest.output
    assert none.output == "There is no job.\n"


def test_result_is_the_synchronous_answer_to_the_byte(tmp_path: Path) -> None:
    file = tmp_path / "answer.json"

    with operating(tmp_path) as operator:
        id = operator.submit()
        printed = operator.run("result", id)
        written = operator.run("result", id, "--output", str(file))
        answer = operator.answer()
        shown = json.loads(operator.run("show", id, "--json").output)

    assert (printed.exit_code, printed.stdout_bytes) == (0, answer)
    assert (written.exit_code, written.stdout_bytes) == (0, b"")
    assert file.read_bytes() == answer
    assert shown["status"] == "succeeded"


def test_a_result_that_takes_longer_than_the_timeout(tmp_path: Path) -> None:
    file = tmp_path / "answer.json"

    with operating(tmp_path, runs=False) as operator:
        id = operator.submit()
        result = operator.run("result", id, "--timeout", "0.2", "--output", str(file))

    assert result.exit_code == 1
    assert "longer --timeout" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["jobs"]


def test_a_failed_job_has_its_error_and_exit_code(tmp_path: Path) -> None:
    with operating(tmp_path, FakeModel(function=fail)) as operator:
        id = operator.submit()
        result = operator.run("result", id)
        shown = operator.run("show", id)

    assert result.exit_code == 1
    assert len(result.output.splitlines()) == 1
    assert "failed" in shown.output
    assert f"! {id}: " in shown.output
    assert "\x1b" not in result.output + shown.output


def test_a_canceled_job_stays_so_and_has_no_result(tmp_path: Path) -> None:
    with operating(tmp_path, runs=False) as operator:
        id = operator.submit()
        canceled = operator.run("cancel", id)
        again = operator.run("cancel", id, "--json")
        result = operator.run("result", id)

    assert "canceled" in canceled.output
    assert json.loads(again.output)["status"] == "canceled"
    assert result.exit_code == 1
    assert "canceled" in result.output


@pytest.mark.parametrize("command", ["show", "cancel", "result"])
@pytest.mark.parametrize(
    "id", ["0a6e1fd2-3f0b-4b4c-9d5e-6a7b8c9d0e1f", "../models", "a?b#c"]
)
def test_an_unknown_job_exits_with_5(tmp_path: Path, command: str, id: str) -> None:
    with operating(tmp_path) as operator:
        result = operator.run(command, id)

    assert result.exit_code == 5
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize(
    ("args", "words"),
    [
        pytest.param(["list", "--limit", "0"], "limit", id="no jobs"),
        pytest.param(["list", "--status", "done"], "succeeded", id="no status"),
        pytest.param(["show"], "ID", id="no id"),
        pytest.param(["list", "--server", "h:1"], "http://", id="no URL"),
    ],
)
def test_mistakes_exit_with_2(args: list[str], words: str) -> None:
    result = CliRunner().invoke(main, ["jobs", *args])

    assert result.exit_code == 2
    assert words in result.output


@pytest.mark.parametrize("args", [["list"], ["result", "some"]])
def test_an_unreachable_server_exits_with_3(args: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    result = CliRunner().invoke(
        main, ["jobs", *args, "--server", f"http://127.0.0.1:{port}"]
    )

    assert result.exit_code == 3
    assert "refused" in result.output


def test_a_file_that_can_not_be_written(tmp_path: Path) -> None:
    with operating(tmp_path) as operator:
        id = operator.submit()
        result = operator.run("result", id, "--output", str(tmp_path / "no" / "file"))

    assert result.exit_code == 1
    assert "can't write" in result.output
