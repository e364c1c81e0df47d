"""A multi-model endpoint of SageMaker: its calls, against a real server."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.e2e.processes import TANDEM, first_answer, free_port, running

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)

ROWS = {"instances": [3.0]}


def unpack(file: Path, roots: Path, name: str, place: str = "") -> dict[str, Any]:
    """Unpack a model as SageMaker does; return the body of its load call."""
    folder = roots / name / "model"
    (folder / place).mkdir(parents=True)
    shutil.copy(file, folder / place / "model.pb")
    return {"model_name": name, "url": str(folder)}


async def test_models_are_loaded_listed_asked_and_unloaded(
    stock: Path, cache: Path, tmp_path: Path
) -> None:
    roots = tmp_path / "opt"
    one = unpack(stock / "one.pb", roots, "one")
    old = unpack(stock / "two.pb", roots, "old", "export/Servo/7")
    bad = unpack(stock / "one.pb", roots, "bad")
    (roots / "bad/model/model.pb").write_bytes(b"\xff")
    large = unpack(stock / "large_1.pb", roots, "large")
    port, home = free_port(), tmp_path / "tmp"
    home.mkdir()
    command = [*TANDEM, "serve", "--platform", "sagemaker", "--port", str(port)]
    command += ["--cache-dir", str(cache), "--follow-links-to", str(roots)]
    command += ["--memory-budget", "12MiB", "--scan-seconds", "0"]
    many = {"SAGEMAKER_MULTI_MODEL": "true", "TMPDIR": str(home)}

    with running(command, port, tmp_path / "log", **many) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=200) as client:
            empty = await first_answer(client, "/models")
            loads = {
                body["model_name"]: await client.post("/models", json=body)
                for body in (one, old, bad, large)
            }
            again = await client.post("/models", json=one)
            outside = await client.post("/models", json=one | {"url": "/etc"})
            wrong = await client.post("/models", json={"model_name": "../x"})
            listed = await client.get("/models")
            rest = await client.get("/models", params={"next_page_token": "one"})
            shown = await client.get("/models/one")
            answers = [
                await client.post(f"/models/{name}/invoke", json=ROWS)
                for name in ("one", "old")
            ]
            removed = await client.delete("/models/one")
            gone = [
                await client.get("/models/one"),
                await client.delete("/models/one"),
                await client.post("/models/one/invoke", json=ROWS),
            ]
            back = await client.post("/models", json=one)

    names = [each["modelName"] for each in listed.json()["models"]]
    assert empty.json() == {"models": []}
    assert {name: each.status_code for name, each in loads.items()} == {
        **{"one": 200, "old": 200},
        **{"bad": 400, "large": 507},
    }
    assert again.status_code == 409
    assert (outside.status_code, wrong.status_code) == (400, 400)
    assert str(roots) in outside.json()["error"]
    assert names == ["old", "one"]
    assert [each["modelName"] for each in rest.json()["models"]] == ["one"]
    assert shown.json() == {"modelName": "one", "modelUrl": one["url"]}
    assert [each.json()["predictions"] for each in answers] == [[3.0], [6.0]]
    assert removed.status_code == 200
    assert [each.status_code for each in gone] == [404, 404, 404]
    assert back.status_code == 200
