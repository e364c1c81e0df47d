"""Traces of a real server, as a collector gets them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

from tests.e2e.processes import ready
from tests.e2e.sites import Client, site
from tests.support.receivers import collecting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.sites import Site
    from tests.support.receivers import Collector, ReceivedSpan

SERVER, CONSUMER = 2, 5
OK = 200
PAYLOADS = "payloads.jsonl"
CLIENT_SPAN = "00f067aa0ba902b7"
PHASES = ["decode", "queue", "compute", "encode"]
V1, V2 = "/v1/models/one:predict", "/v2/models/one/infer"
BODIES = {
    V1: {"instances": [3.0]},
    V2: {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [3.0]}]},
}
RULES = {
    V1: "/v1/models/<model:name>:predict",
    V2: "/v2/models/<model:name>/infer",
}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traces")


@pytest.fixture(scope="module")
def traced(
    root: Path, stock: Path, cache: Path, collector: Collector
) -> Iterator[Site]:
    """A server that keeps jobs, and runs none."""
    flags = (*flags_of(root), "--job-concurrency", "0")
    with site(root, stock, cache, *flags, **variables(collector)) as traced:
        traced.bring("one", "one.pb")
        yield traced


def flags_of(root: Path) -> tuple[str, ...]:
    payloads = ("--payload-log", str(root / PAYLOADS), "--payload-log-share", "1")
    return "--traces", "--data-dir", str(root / "data"), *payloads


def variables(collector: Collector) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        # Without a bound of our own, an exit would wait for as long.
        "OTEL_EXPORTER_OTLP_TIMEOUT": "100000",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=tests",
    }


def parent(*, sampled: bool = True) -> tuple[str, str]:
    """Return the id of a new trace, and the header of a span in it."""
    trace = os.urandom(16).hex()
    return trace, f"00-{trace}-{CLIENT_SPAN}-0{int(sampled)}"


def client_of(site: Site) -> Client:
    return Client(base_url=site.server.url, timeout=60)


async def spans_of(
    collector: Collector, trace: str, kind: int = SERVER, status: int | None = None
) -> tuple[ReceivedSpan, list[ReceivedSpan]]:
    """Wait for the span of a kind and status in a trace; return it and its children."""

    def wanted(span: ReceivedSpan) -> bool:
        told = span.attributes.get("http.response.status_code")
        return (span.trace, span.kind) == (trace, kind) and status in (None, told)

    [span] = await anyio.to_thread.run_sync(collector.until, wanted)
    return span, [each for each in collector.received if each.parent == span.id]


@pytest.mark.parametrize("path", [V1, V2])
async def test_a_request_has_a_span_with_its_phases(
    traced: Site, collector: Collector, path: str
) -> None:
    trace, header = parent()
    headers = {"traceparent": header, "tracestate": "vendor=1"}

    async with client_of(traced) as client:
        await ready(client)
        response = await client.post(path, json=BODIES[path], headers=headers)

    assert response.status_code == 200
    span, phases = await spans_of(collector, trace)
    assert (span.name, span.parent) == (f"POST {RULES[path]}", CLIENT_SPAN)
    assert span.state == "vendor=1"
    assert span.attributes.items() >= told(response, path).items()
    assert span.resource["service.name"] == "tandem"
    assert span.resource["deployment.environment.name"] == "tests"
    assert [each.name for each in phases] == PHASES
    assert [each.end for each in phases[:-1]] == [each.start for each in phases[1:]]
    assert span.start <= phases[0].start
    assert phases[-1].end <= span.end
    assert lengths(phases) == lengths_told(response)


def told(response: Any, path: str) -> dict[str, Any]:
    return {
        "http.request.method": "POST",
        "http.route": RULES[path],
        "http.response.status_code": 200,
        "http.response.body.size": len(response.content),
        "url.path": path,
        "url.scheme": "http",
        "server.address": "127.0.0.1",
        "server.port": response.url.port,
        "client.address": "127.0.0.1",
        "network.protocol.version": "1.1",
        "tandem.model.name": "one",
        "tandem.model.version": 1,
        "tandem.request.id": response.headers["x-request-id"],
    }


def lengths(phases: list[ReceivedSpan]) -> dict[str, int]:
    """Return the microseconds of each phase."""
    return {each.name: round((each.end - each.start) / 1000) for each in phases}


def lengths_told(response: Any) -> dict[str, int]:
    parts = [
        each.split(";dur=") for each in response.headers["server-timing"].split(", ")
    ]
    return {name: round(float(text) * 1000) for name, text in parts}


async def test_a_request_of_no_trace_begins_one(
    traced: Site, collector: Collector
) -> None:
    async with client_of(traced) as client:
        await ready(client)
        await client.post(V1, json=BODIES[V1], headers={"X-Request-ID": "first"})

    [span] = await anyio.to_thread.run_sync(
        collector.until,
        lambda each: each.attributes.get("tandem.request.id") == "first",
    )
    assert span.parent == ""
    [line] = [
        each for each in traced.events("request") if each["request_id"] == "first"
    ]
    assert line["trace_id"] == span.trace


async def test_unsampled_request_is_logged_without_a_span(
    traced: Site, collector: Collector
) -> None:
    unsampled, header = parent(sampled=False)
    later, later_header = parent()

    async with client_of(traced) as client:
        await ready(client)
        await client.post(V1, json=BODIES[V1], headers={"traceparent": header})
        await client.get("/v2/health/ready")
        await client.post("/none", headers={"traceparent": later_header})

    span, phases = await spans_of(collector, later)
    assert (span.name, span.attributes["http.response.status_code"]) == ("POST", 404)
    assert phases == []
    assert unsampled not in {each.trace for each in collector.received}
    assert not any("ready" in each.name for each in collector.received)
    assert unsampled in {each.get("trace_id") for each in traced.events("request")}


async def test_a_job_belongs_to_its_trace_wherever_it_runs(
    traced: Site,
    collector: Collector,
    root: Path,
    stock: Path,
    cache: Path,
) -> None:
    """The server that took it ends, though the collector answers nothing any more.

    Workers of a later one run it.
    """
    trace, header = parent()
    headers = {"traceparent": header, "prefer": "respond-async"}

    async with client_of(traced) as client:
        await ready(client)
        job = (await client.post(V1, json=BODIES[V1], headers=headers)).json()

    submitted, phases = await spans_of(collector, trace)
    await stop_with_a_held_request(traced, collector)

    flags = (*flags_of(root), "--workers", "2")
    with site(root, stock, cache, *flags, **variables(collector)) as later:
        async with client_of(later) as client:
            await ready(client)
            run, phases = await spans_of(collector, trace, CONSUMER, OK)
            await both_workers_send(client, collector, submitted)

        assert later.server.stop() == 0
        lines = later.events("request")

    payloads = records(root, trace)
    assert [each["request_id"] for each in payloads if each["status"] == OK] == [
        job["id"]
    ]
    assert run.parent == submitted.id
    assert run.attributes["tandem.job.id"] == job["id"]
    assert run.attributes["http.response.status_code"] == 200
    assert [each.name for each in phases] == PHASES
    # It may have been tried while the model was loading, too.
    assert {it["trace_id"] for it in lines if it["request_id"] == job["id"]} == {trace}


def records(root: Path, trace: str) -> list[dict[str, Any]]:
    """Return what the payload log has of a trace."""
    lines = (root / PAYLOADS).read_text().splitlines()
    return [told for told in map(json.loads, lines) if told["trace_id"] == trace]


async def stop_with_a_held_request(traced: Site, collector: Collector) -> None:
    """Stop a server while the collector keeps it waiting; requests don't."""
    collector.holding = True
    async with client_of(traced) as client:
        await client.post(V1, json=BODIES[V1])
        await anyio.to_thread.run_sync(collector.arrived.wait)
        assert (await client.post(V1, json=BODIES[V1])).status_code == 200

    assert traced.server.stop() == 0
    collector.holding = False
    collector.released.set()


async def both_workers_send(
    client: Client, collector: Collector, earlier: ReceivedSpan
) -> None:
    """Ask by new connections until spans of two processes have come."""
    with anyio.fail_after(120):
        while len(instances(collector) - instances_of([earlier])) < 2:
            await client.post(V1, json=BODIES[V1], headers={"connection": "close"})
            await anyio.sleep(0.05)


def instances(collector: Collector) -> set[str]:
    return instances_of(collector.received)


def instances_of(spans: list[ReceivedSpan]) -> set[str]:
    return {each.resource["service.instance.id"] for each in spans}
