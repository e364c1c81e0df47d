"""Refusals and deadlines of a server whose model is as slow as a client asks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from inference.backend import tf, tf1
from tests.e2e.processes import TANDEM, free_port, ready, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.e2e.processes import Server

PATH = "/v1/models/turns:predict"
FOREVER = {"instances": [2**62]}
SIDECAR = """
concurrency = 1
intra_op_threads = 1
max_queue = 0
timeout = 3.0

[signatures.serving_default]
outputs = ["counted"]
"""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("load")
    folder = root / "models"
    folder.mkdir()
    write_turns(folder / "turns.pb")
    (folder / "turns.toml").write_text(SIDECAR)
    port = free_port()
    command = [*TANDEM, "serve", str(folder), "--port", str(port)]
    command += ["--cache-dir", str(root / "cache")]

    with running(command, port, root / "log") as server:
        yield server


@pytest.fixture
async def client(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        await ready(client)
        yield client
        await until(client, running=0, waiting=0, orphans=0, tokens=0)


def write_turns(path: Path) -> None:
    """Write a frozen graph that counts, turn by turn, to the largest of its inputs."""
    with tf.Graph().as_default() as graph:
        wanted = tf1.placeholder(tf.int64, [None], name="turns")
        last = tf.reduce_max(wanted)
        count = tf.while_loop(
            lambda n: n < last, lambda n: n + 1, [tf.zeros([], tf.int64)]
        )
        tf.add(count[0], tf.zeros_like(wanted), name="counted")

    path.write_bytes(graph.as_graph_def().SerializeToString())


async def load(client: httpx.AsyncClient) -> dict[str, int]:
    response = await client.get("/v1/models")
    counts: dict[str, int] = response.json()["models"][0]["versions"][0]["load"]
    return counts


async def until(client: httpx.AsyncClient, **wanted: int) -> None:
    """Poll until the model's load has the `wanted` values."""
    with anyio.fail_after(60):
        while wanted.items() - (await load(client)).items():
            await anyio.sleep(0.02)


async def ask(
    client: httpx.AsyncClient, into: list[httpx.Response], **how: Any
) -> None:
    into.append(await client.post(PATH, json=FOREVER, **how))


async def test_a_busy_model_refuses_and_recovers(client: httpx.AsyncClient) -> None:
    answers: list[httpx.Response] = []

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, client, answers)
        await until(client, running=1, tokens=1)
        refused = await client.post(PATH, json={"instances": [1]})
        alive = await client.get("/livez")

    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) >= 1
    assert "The model is busy" in refused.json()["error"]
    assert alive.status_code == 200
    assert answers[0].status_code == 504

    # TensorFlow has ended the loop by itself; the next request gets a token.
    await until(client, tokens=0)
    response = await client.post(PATH, json={"instances": [3]})
    assert response.json() == {"predictions": [3]}


async def test_a_client_in_a_hurry_is_answered_at_once(
    client: httpx.AsyncClient,
) -> None:
    # Long enough to reach TensorFlow on a busy machine, and far less than it takes.
    response = await client.post(PATH, json=FOREVER, headers={"Prefer": "wait=1"})
    left = await load(client)

    assert response.status_code == 504
    # What reading the body takes on a busy machine is no longer the model's.
    assert re.search(r"time of (1|0\.\d+) s is over", response.json()["error"])
    assert left == {"running": 1, "waiting": 0, "orphans": 1, "tokens": 1}


async def test_a_client_that_hangs_up_leaves_an_orphan(
    client: httpx.AsyncClient, server: Server
) -> None:
    async with httpx.AsyncClient(base_url=server.url) as leaving:
        with pytest.raises(httpx.ReadTimeout):
            await leaving.post(PATH, json=FOREVER, timeout=0.2)

    await until(client, running=1, orphans=1, tokens=1)
    await until(client, running=0)
    assert '"level":"error"' not in server.log.read_text()
