"""One folder, four formats, one server, as the README promises."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from service.cli.main import main
from tests import PROJECT
from tests.e2e.processes import (
    TANDEM,
    Server,
    first_answer,
    free_port,
    ready,
    run_tandem,
    running,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.model_files import Case
    from tests.support.compiled_cases import CompiledCases

CASES = {
    "frozen": "frozen_tf2_conv",
    "saved": "saved_half_plus_two",
    "old": "h5_keras2_hard_sigmoid",
    "pair": "zip_two_in_two_out",
}
ROUNDS = 10

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def cases(compiled: CompiledCases) -> dict[str, Case]:
    return {name: compiled.case(case) for name, case in CASES.items()}


@pytest.fixture(scope="module")
def folder(cases: dict[str, Case], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a model of each format, Keras 2 included, and a broken one."""
    root = tmp_path_factory.mktemp("repository")

    for name, case in cases.items():
        if case.path.is_dir():
            shutil.copytree(case.path, root / name)
        else:
            shutil.copy(case.path, root / f"{name}{case.path.suffix}")

    (root / "broken.h5").write_bytes(b"not a model")
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def server(folder: Path, cache: Path) -> Iterator[Server]:
    """Run a server with an empty cache, so that it compiles."""
    port = free_port()
    command = [*TANDEM, "serve", str(folder), "--port", str(port)]
    command += ["--cache-dir", str(cache), "--screen"]

    with running(command, port, cache.parent / "serve.log") as server:
        yield server


@pytest.fixture
async def client(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, timeout=120) as client:
        yield client


def body(case: Case) -> dict[str, Any]:
    example = case.examples[0]
    return {"inputs": {name: value.tolist() for name, value in example.inputs.items()}}


def check(case: Case, response: httpx.Response) -> None:
    """Compare the answer with the source framework's."""
    assert response.status_code == 200, response.text
    wanted = case.examples[0].outputs
    got = response.json()["outputs"]
    named = got if len(wanted) > 1 else {next(iter(wanted)): got}
    assert named.keys() == wanted.keys()

    for name, value in wanted.items():
        np.testing.assert_allclose(named[name], value, rtol=0, atol=1e-5)


async def test_the_port_is_open_while_models_load(client: httpx.AsyncClient) -> None:
    alive = await first_answer(client, "/livez")
    loading = await client.get("/readyz")
    early = await client.post("/v1/models/pair:predict", json={"inputs": {}})

    assert alive.status_code == 200
    assert loading.status_code == 503
    assert loading.json()["models"]["pair/1"]["state"] in ("START", "LOADING")
    assert early.status_code == 503
    assert int(early.headers["retry-after"]) >= 1
    assert "loading" in early.json()["error"]


async def test_all_formats_answer_at_once(
    client: httpx.AsyncClient, cases: dict[str, Case]
) -> None:
    await ready(client)
    answers: list[tuple[Case, httpx.Response]] = []

    async def ask(name: str) -> None:
        url = f"/v1/models/{name}:predict"
        answers.append((cases[name], await client.post(url, json=body(cases[name]))))

    async with anyio.create_task_group() as tasks:
        for _ in range(ROUNDS):
            for name in cases:
                tasks.start_soon(ask, name)

    assert len(answers) == ROUNDS * len(cases)

    for case, response in answers:
        check(case, response)


async def test_a_broken_model_is_shown_and_others_serve(
    client: httpx.AsyncClient,
) -> None:
    state = await ready(client)
    refused = await client.post("/v1/models/broken:predict", json={"instances": [1]})

    assert "neither HDF5 nor" in state["models"]["broken/1"]["error"]
    assert refused.status_code == 503
    assert "neither HDF5 nor" in refused.json()["error"]


async def test_bad_input_is_refused_and_the_next_request_served(
    client: httpx.AsyncClient, cases: dict[str, Case]
) -> None:
    await ready(client)
    url = "/v1/models/pair:predict"
    bad = {
        b"{": "JSON",
        b'{"inputs": {"left": [[1, 2, 3]]}}': "right",
        b'{"inputs": {"left": [[1], [2, 3]], "right": [[1, 2]]}}': "left",
        b'{"inputs": {"left": [["a", "b", "c"]], "right": [[1, 2]]}}': "left",
        b'{"instances": [1, 2]}': "left",
    }

    for content, word in bad.items():
        response = await client.post(url, content=content)
        assert response.status_code == 400
        assert word in response.json()["error"]
        check(cases["pair"], await client.post(url, json=body(cases["pair"])))


async def test_logs_are_lines_of_json(
    client: httpx.AsyncClient, server: Server
) -> None:
    await ready(client)
    await client.get("/v1/models", headers={"X-Request-ID": "the-one"})

    lines = [line for line in server.log.read_text().splitlines() if line[:1] == "{"]
    events = [json.loads(line) for line in lines]

    assert [event for event in events if event.get("request_id") == "the-one"]
    available = {e["model"] for e in events if e["event"] == "model available"}
    failed = {e["model"] for e in events if e["event"] == "model failed to load"}
    assert (available, failed) == (set(CASES), {"broken"})


async def test_the_screen_shows_commands_that_work(
    client: httpx.AsyncClient, server: Server
) -> None:
    await ready(client)

    with anyio.fail_after(60):
        while "Tandem serves at" not in (text := server.log.read_text()):
            await anyio.sleep(0.05)

    commands = [line.strip() for line in text.splitlines() if "| curl" in line]
    commands += [line.strip() for line in text.splitlines() if "  curl" in line]
    assert len(commands) == len(CASES)

    for command in commands:
        # As a shell runs it, but without curl, which needn't be installed.
        response = await client.post(shlex.split(command)[-1], content=sent(command))
        assert response.status_code == 200, (command, response.text)


def sent(command: str) -> bytes:
    words = shlex.split(command)

    if words[0] == "curl":
        return words[2].encode()

    return subprocess.run(
        ["python3", *words[1:3]], capture_output=True, check=True
    ).stdout


REQUESTS = 20


async def check_figures(client: httpx.AsyncClient, asked: bytes, figures: Path) -> None:
    """Two workers add up their requests, also once one of them has crashed."""
    await until_figures(client, workers=2, requests=0)
    answered = 0
    while answered < REQUESTS:
        response = await client.post("/v1/models/pair:predict", content=asked)
        # One of them may still be loading the model.
        answered += response.status_code == 200

    await until_figures(client, workers=2, requests=REQUESTS)
    victim = min(int(each.name.split("-")[0]) for each in figures.glob("*.alive"))
    os.kill(victim, signal.SIGKILL)
    await until_figures(client, workers=1, requests=REQUESTS)


async def until_figures(
    client: httpx.AsyncClient, *, workers: int, requests: int
) -> None:
    """Scrape until all that was counted is seen; it never becomes less."""
    seen = -1.0

    with anyio.fail_after(120):
        while True:
            try:
                text = (await client.get("/metrics")).text
            except httpx.TransportError:  # by the worker that crashes
                continue

            found = {
                family.name: sum(
                    sample.value
                    for sample in family.samples
                    if sample.labels.get("protocol", "v1") == "v1"
                    and sample.labels.get("status", "200") == "200"
                )
                for family in text_string_to_metric_families(text)
            }
            assert found.get("tandem_requests", 0) >= seen
            seen = found.get("tandem_requests", 0)
            if (found["tandem_workers"], seen) == (workers, requests):
                return

            await anyio.sleep(0.05)


async def test_sigterm_stops_the_server_and_a_restart_compiles_nothing(
    client: httpx.AsyncClient,
    server: Server,
    folder: Path,
    cache: Path,
    cases: dict[str, Case],
    tmp_path: Path,
) -> None:
    """Run last: it stops the shared server. Two workers take over."""
    await ready(client)
    server.stop()
    kept = sorted(cache.glob("*/manifest.json"))
    times = [path.stat().st_mtime_ns for path in kept]
    assert len(kept) == len(CASES)
    (folder / "broken.h5").unlink()

    port = free_port()
    command = [*TANDEM, "serve", str(folder), "--port", str(port), "--workers", "2"]
    command += ["--cache-dir", str(cache), "--no-screen"]
    command += ["--metrics-dir", str(tmp_path / "figures")]

    with running(command, port, cache.parent / "again.log") as again:
        async with httpx.AsyncClient(
            # Each request on a connection of its own, by any worker.
            base_url=again.url,
            timeout=120,
            headers={"Connection": "close"},
        ) as second:
            await ready(second)
            response = await second.get("/v1/models")
            asked = json.dumps(body(cases["pair"])).encode()
            await check_figures(second, asked, tmp_path / "figures")

        again.stop()

    assert {each["name"] for each in response.json()["models"]} == set(CASES)
    assert sorted(cache.glob("*/manifest.json")) == kept
    assert [path.stat().st_mtime_ns for path in kept] == times


async def test_uvicorn_serves_asgi_app(
    folder: Path, cache: Path, cases: dict[str, Case], tmp_path: Path
) -> None:
    port = free_port()
    command = [TANDEM[0], "-m", "uvicorn", "asgi:app", "--port", str(port)]
    env = {"TANDEM_MODELS": str(folder / "pair.keras"), "TANDEM_CACHE_DIR": str(cache)}

    with running(command, port, tmp_path / "uvicorn.log", **env) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=120) as client:
            await ready(client)
            response = await client.post(
                "/v1/models/pair:predict", json=body(cases["pair"])
            )
            check(cases["pair"], response)


def test_uvicorn_without_models_says_what_to_set() -> None:
    done = subprocess.run(
        [TANDEM[0], "-m", "uvicorn", "asgi:app"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert "TANDEM_MODELS" in done.stderr
    assert "Traceback" not in done.stderr


def test_inspect_each_format(folder: Path, cache: Path) -> None:
    args = ("inspect", str(folder), "--cache-dir", str(cache))
    table = run_tandem(*args)
    machine = json.loads(CliRunner().invoke(main, [*args, "--json"]).stdout)

    assert table.returncode == 0, table.stderr
    formats = ("frozen graph", "SavedModel", "Keras .h5", "Keras .keras")
    assert all(name in table.stdout for name in formats)
    assert table.stdout.count("curl") >= len(CASES)
    found = {each["name"]: each["manifest"] for each in machine["models"]}
    assert found.keys() == CASES.keys()
    assert found["old"]["source_writer"].startswith("Keras 2.")
    assert found["pair"]["signatures"]["serving_default"]["inputs"].keys() == {
        "left",
        "right",
    }


def test_inspect_refuses_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "empty.h5"
    path.touch()

    args = ["inspect", str(path), "--cache-dir", str(tmp_path / "cache")]
    done = CliRunner().invoke(main, args)

    assert done.exit_code == 1
    assert "empty.h5 is empty (0 bytes)" in done.stdout
    assert isinstance(done.exception, SystemExit)


def test_serve_uses_compiled_artifacts(folder: Path, tmp_path: Path) -> None:
    path, output = folder / "frozen.pb", tmp_path / "artifacts"

    first = run_tandem("compile", str(path), "--output", str(output))
    second = CliRunner().invoke(main, ["compile", str(path), "--output", str(output)])

    assert (first.returncode, second.exit_code) == (0, 0), first.stderr
    assert "frozen: compiled," in first.stdout
    assert "frozen: already there," in second.output
    names = {file.name for file in next(output.glob("[0-9a-f]*")).iterdir()}
    assert names - {"portable.pb.gz"} == {"graph.pb", "weights.bin", "manifest.json"}


def test_a_taken_port_is_reported_before_loading(folder: Path, cache: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_tandem(
            "serve", str(folder), "--port", str(port), "--cache-dir", str(cache)
        )

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"port {port}: Address already in use" in done.stderr
