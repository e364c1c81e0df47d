"""A real Prometheus scrapes a running server; promtool checks what it says."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from service.telemetry.families import FAMILIES
from tests.e2e.processes import free_port
from tests.support.openmetrics import ACCEPT, parse_openmetrics
from tests.support.promtool import promtool
from tests.support.tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.sites import Client, Site

pytestmark = pytest.mark.timeout(300)

PATIENCE_SECONDS = 120.0
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
CONFIG = """\
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
  - job_name: tandem
    static_configs: [{{targets: ["{target}"]}}]
"""


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[str]:
    """Run a Prometheus that scrapes `target`; yield its URL."""
    config = folder / "prometheus.yml"
    config.write_text(CONFIG.format(target=target))
    address = f"127.0.0.1:{free_port()}"
    command = [
        find_tool("prometheus", "prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--enable-feature=exemplar-storage",
    ]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
    ):
        try:
            yield f"http://{address}"
        finally:
            process.kill()


async def query(url: str, path: str, **asked: str) -> Any:
    """Return the first answer that has a result; Prometheus may still be starting."""
    async with httpx.AsyncClient(base_url=url) as client:
        with anyio.fail_after(PATIENCE_SECONDS):
            while True:
                try:
                    response = await client.get(f"/api/v1/{path}", params=asked)
                except httpx.ConnectError:
                    response = httpx.Response(503)

                if response.status_code == 200:
                    data = response.json()["data"]
                    if found := data["result"] if isinstance(data, dict) else data:
                        return found

                await anyio.sleep(0.1)


async def test_prometheus_reads_counters_histograms_and_exemplars(
    living: Site, client: Client, tmp_path: Path
) -> None:
    living.bring("two", "scraped.pb")
    await client.serves("scraped")
    for _ in range(3):
        body = {"instances": [1.0]}
        headers = {"traceparent": TRACEPARENT}
        answer = await client.post(
            "/v1/models/scraped:predict", json=body, headers=headers
        )
        assert answer.status_code == 200

    with prometheus(tmp_path, living.server.url.removeprefix("http://")) as url:
        ok = 'tandem_requests_total{model="scraped",status="200"}'
        [requests] = await query(url, "query", query=ok)
        name = "tandem_request_duration_seconds"
        quantile = f'histogram_quantile(0.9, {name}_bucket{{model="scraped"}})'
        [slow] = await query(url, "query", query=quantile)
        [exemplars, *_] = await query(
            url, "query_exemplars", query=f"{name}_bucket", start="0", end="1e10"
        )
        # A single scrape may be late where other tests take the CPU.
        [scraped] = await query(url, "query", query="max_over_time(up[5m])")

    assert requests["value"][1] == "3"
    assert (requests["metric"]["protocol"], requests["metric"]["version"]) == (
        "v1",
        "1",
    )
    assert 0 < float(slow["value"][1]) < 30
    assert exemplars["exemplars"][0]["labels"] == {"trace_id": TRACE}
    assert scraped["value"][1] == "1"


async def test_promtool_finds_nothing_to_mend(client: Client) -> None:
    text = (await client.get("/metrics")).text
    checked = promtool("check", "metrics", text=text)

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


async def test_server_gives_all_metrics_in_their_order(client: Client) -> None:
    text = (await client.get("/metrics", headers=ACCEPT)).text
    found = [family.name for family in parse_openmetrics(text)]

    assert found == list(FAMILIES)
