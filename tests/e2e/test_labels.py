"""Labels move under load, and no request fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from tests.e2e.sites import PATIENCE_SECONDS

if TYPE_CHECKING:
    import httpx

    from tests.e2e.sites import Client, Site

STABLE = "/labels/stable"
FLIPS = 10

pytestmark = pytest.mark.timeout(300)


async def flip(client: Client, name: str, **labels: int | None) -> httpx.Response:
    """Set labels; retry once if a version was just unloading."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while True:
            answer = await client.admin("PUT", f"models/{name}/labels", labels)

            if "is being unloaded" not in answer.text:
                return answer

            await anyio.sleep(0.02)


@pytest.mark.parametrize(
    "sidecar",
    [
        pytest.param("versions = { all = true }\n", id="both stay in memory"),
        pytest.param("", id="the other one is loaded each time"),
    ],
)
async def test_a_label_flips_under_load(
    client: Client, living: Site, sidecar: str
) -> None:
    name = "flip_all" if sidecar else "flip_newest"
    living.version("one", name, 1)
    living.version("two", name, 2)
    (living.folder / name / "model.toml").write_text(sidecar)
    await client.serves(name, 2)
    assert (await flip(client, name, stable=1)).status_code == 200
    factors: set[float] = set()

    async def ask() -> None:
        while True:
            factors.add(await client.factor(name, STABLE))
            await anyio.sleep(0.01)

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(ask)

        for number in (2, 1) * (FLIPS // 2):
            answer = await flip(client, name, stable=number)
            assert answer.status_code == 200, answer.text
            assert await client.factor(name, STABLE) == number

        tasks.cancel_scope.cancel()

    assert factors == {1.0, 2.0}


async def test_a_label_is_removed(client: Client, living: Site) -> None:
    living.version("one", "bare_label", 1)
    living.version("two", "bare_label", 2)
    await client.serves("bare_label", 2)
    await flip(client, "bare_label", stable=1, canary=2)
    labelled = await client.version("bare_label", 1)

    answer = await flip(client, "bare_label", stable=None)

    assert answer.status_code == 200
    assert labelled["labels"] == ["stable"]
    refused = await client.ask("bare_label", place=STABLE)
    assert refused.status_code == 400
    assert "its labels are: canary" in refused.json()["error"]
    assert await client.factor("bare_label", "/labels/canary") == 2.0
    # Nothing else uses the older version.
    await client.gone("bare_label", 1)


async def test_a_label_of_an_unknown_version_changes_nothing(
    client: Client, living: Site
) -> None:
    living.version("one", "kept_label", 1)
    await client.serves("kept_label", 1)
    await flip(client, "kept_label", stable=1)
    failing_version = living.folder / "kept_label/2"
    failing_version.mkdir()
    # It is refused by its checksum, without the seconds of a compiler.
    (failing_version / "SHA256SUMS").write_text(f"{'0' * 64}  model.pb\n")
    (failing_version / "model.pb").write_bytes(b"not a model")
    await client.until("kept_label", 2, state="END")

    unknown = await flip(client, "kept_label", stable=9)
    failing = await flip(client, "kept_label", stable=2)

    assert (unknown.status_code, failing.status_code) == (404, 503)
    assert "model.pb" in failing.json()["error"]
    assert await client.factor("kept_label", STABLE) == 1.0


async def test_labels_follow_the_sidecar(client: Client, living: Site) -> None:
    living.version("one", "said_label", 1)
    living.version("two", "said_label", 2)
    sidecar = living.folder / "said_label/model.toml"
    sidecar.write_text("labels = { stable = 1 }\n")
    await client.until("said_label", 1, state="AVAILABLE", labels=["stable"])
    assert await client.factor("said_label", STABLE) == 1.0

    sidecar.write_text("labels = { stable = 2 }\n")
    await client.until("said_label", 2, state="AVAILABLE", labels=["stable"])

    assert await client.factor("said_label", STABLE) == 2.0
