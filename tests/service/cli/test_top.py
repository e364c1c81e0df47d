from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from rich.console import Console
from structlog.testing import capture_logs

from inference import ModelState
from service.bridge.bridge import Bridge
from service.cli.main import main
from service.terminal.top import top_screen
from tests.support.clients import make_app, make_client
from tests.support.fakes import FakeEngine, FakeModel
from tests.support.servers import serve

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def url() -> Iterator[str]:
    broken = FakeModel(name="broken", state=ModelState.END, error="no layer")
    app = make_app(FakeEngine(FakeModel(), FakeModel(version=2), broken))
    with capture_logs(), serve(Bridge(app)) as address:
        yield address.url


def test_figures_are_printed_once_into_a_pipe(url: str) -> None:
    result = CliRunner().invoke(main, ["top", "--server", url])

    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.output.splitlines() if line.strip()]
    assert lines[1][:4] == ["model", "state", "req/s", "err/s"]
    assert [line[:2] for line in lines[2:]] == [
        ["broken", "failed"],
        ["half/1", "available"],
        ["half/2", "available"],
    ]


def test_json_is_the_servers_own(url: str) -> None:
    result = CliRunner().invoke(main, ["top", "--json", "--server", url])

    assert [each["name"] for each in json.loads(result.stdout)["models"]] == [
        "broken",
        "half",
    ]


def test_a_server_of_another_kind_is_named_as_such() -> None:
    async def other(scope: Any, receive: Any, send: Any) -> None:
        head = {"type": "http.response.start", "status": 200, "headers": []}
        await send(head)
        await send({"type": "http.response.body", "body": b"{}"})

    with serve(other) as address:
        result = CliRunner().invoke(main, ["top", "--server", address.url])

    assert result.exit_code == 3
    assert "isn't that of a Tandem server" in result.output


async def test_busiest_models_come_first_and_the_rest_is_counted() -> None:
    models = [FakeModel(name=f"m{number}") for number in range(20)]
    async with make_client(FakeEngine(*models)) as client:
        document = (await client.get("/v1/overview")).json()

    document["models"][7]["versions"][0] |= {
        "requests_per_second": 12.0,
        "p50": 0.00085,
        "p99": 0.0125,
    }
    console = Console(width=200)
    with console.capture() as captured:
        console.print(top_screen(document, lines=10))

    lines = [line.split() for line in captured.get().splitlines()]
    assert lines[3][0] == document["models"][7]["name"]
    assert lines[3][4:8] == ["850", "µs", "12.5", "ms"]
    assert len(lines) == 10
    assert lines[-1] == ["and", "14", "more"]


async def test_a_model_takes_one_line_of_a_narrow_terminal() -> None:
    model = FakeModel(name="a_model_with_a_long_name", memory_bytes=1_557_135_360)
    async with make_client(FakeEngine(model)) as client:
        document = (await client.get("/v1/overview")).json()

    document["models"][0]["versions"][0] |= {
        "requests_per_second": 14_000.0,
        "p50": 0.00085,
        "p99": 0.0125,
        "last_used": time.time() - 400,
    }
    console = Console(width=80)
    with console.capture() as captured:
        console.print(top_screen(document))

    head, row = captured.get().rstrip().splitlines()[-2:]
    assert head.split()[:3] == ["model", "state", "req/s"]
    assert row.startswith("a_model")
    assert row.endswith("7 min")
    assert "850 µs" in row
