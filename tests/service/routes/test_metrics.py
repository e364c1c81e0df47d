from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from tests.support.admin import admin_client
from tests.support.clients import make_client
from tests.support.fakes import FakeEngine, FakeModel

if TYPE_CHECKING:
    from pathlib import Path

AVAILABLE = 'tandem_model_state{model="half",state="AVAILABLE",version="1"}'


async def test_metrics_are_collected_at_each_request(tmp_path: Path) -> None:
    """TensorFlow Serving's conformance case 40, at a path of our own."""
    async with admin_client(FakeEngine(FakeModel()), tmp_path) as client:
        before = await client.get("/metrics")
        await client.post("/v1/admin/models/half/unload")
        after = await client.get("/metrics")

    assert before.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert f"{AVAILABLE} 1.0\n" in before.text
    assert f"{AVAILABLE} 0.0\n" in after.text


async def test_metrics_need_no_token_and_are_logged_like_probes() -> None:
    with structlog.testing.capture_logs() as lines:
        async with make_client(FakeEngine()) as client:
            response = await client.get("/metrics")

    assert response.status_code == 200
    assert [line["log_level"] for line in lines] in ([], ["debug"])
