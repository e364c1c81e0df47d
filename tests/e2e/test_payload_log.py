"""The payload log of a real server, by CloudEvents; `test_traces` has one in a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

from tests.e2e.processes import ready
from tests.e2e.sites import Client, site
from tests.support.receivers import receiving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.sites import Site
    from tests.support.receivers import EventSink

V1, V2 = "/v1/models/one:predict", "/v2/models/one/infer"
METRIC = 'tandem_payload_log_records_total{outcome="%s"}'
REDACTED = "[redacted]"


@pytest.fixture(scope="module")
def sink() -> Iterator[EventSink]:
    with receiving() as sink:
        yield sink


@pytest.fixture(scope="module")
def logged(
    stock: Path, cache: Path, sink: EventSink, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("payloads")
    flags = ["--payload-log", sink.url, "--payload-log-share", "1"]
    # So few records may wait.
    flags += ["--payload-log-max-bytes", "64MiB", "--payload-log-redact", "x"]
    with site(root, stock, cache, *flags) as logged:
        logged.bring("one", "one.pb")
        yield logged


def client_of(site: Site) -> Client:
    return Client(base_url=site.server.url, timeout=60)


async def event_of(sink: EventSink, request_id: str) -> dict[str, Any]:
    return await anyio.to_thread.run_sync(sink.event, request_id)


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "x", "shape": [1], "datatype": "FP32"} | changes


async def test_values_of_both_protocols_are_redacted(
    logged: Site, sink: EventSink
) -> None:
    secrets = {"Authorization": "Bearer hidden", "X-API-Key": "hidden"}
    async with client_of(logged) as client:
        await ready(client)
        for path, body in (
            (V1, {"instances": [3.0]}),
            (V2, {"inputs": [tensor(data=[3.0])]}),
        ):
            headers = {**secrets, "X-Request-ID": path[1:3]}
            answer = await client.post(path, json=body, headers=headers)
            assert answer.status_code == 200

    first, second = await event_of(sink, "v1"), await event_of(sink, "v2")
    assert first["data"]["request"]["json"] == {"instances": REDACTED}
    assert first["data"]["response"]["json"] == {"predictions": [3.0]}
    assert second["data"]["request"]["json"]["inputs"] == [tensor(data=REDACTED)]
    assert (first["data"]["model"], first["data"]["version"]) == ("one", 1)
    assert "hidden" not in json.dumps([first, second])


async def test_binary_bodies_are_noted(logged: Site, sink: EventSink) -> None:
    head = json.dumps({"inputs": [tensor(parameters={"binary_data_size": 4})]}).encode()
    body = head + b"\0\0\0\0"
    headers = {"Inference-Header-Content-Length": str(len(head)), "X-Request-ID": "b"}
    async with client_of(logged) as client:
        await ready(client)
        answer = await client.post(V2, content=body, headers=headers)
        assert answer.status_code == 200

    told = (await event_of(sink, "b"))["data"]["request"]
    assert (told["bytes"], told["left_out"]) == (len(body), "binary tensors")


async def test_a_sink_that_hangs_costs_nothing(logged: Site, sink: EventSink) -> None:
    """Answers come, what doesn't fit is dropped and counted, and the server ends."""
    async with client_of(logged) as client:
        await ready(client)
        sink.holding = True
        await client.ask("one")
        await anyio.to_thread.run_sync(sink.arrived.wait)
        for _ in range(8):
            assert (await client.ask("one")).status_code == 200

        dropped = await client.metric(METRIC % "dropped")
        assert dropped >= 1
        assert await client.metric(METRIC % "written") == 3

    assert logged.server.stop() == 0
