"""Entries that can't be models are reported while the server runs, as at start."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.e2e.sites import PATIENCE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.sites import Client, Site

pytestmark = pytest.mark.timeout(300)

# A model's name → its path, and the problem that is reported.
LATE = {
    "late_graph": (
        "late_graph/1",
        "model.graphdef has 2 bytes, fewer than any model. Copy or save it again.",
    ),
    "late_onnx": ("late_onnx.onnx", "not a format that is served; these are: "),
    "late_tflite": ("late_tflite/2", "late.tflite is of a format that isn't served."),
    "late_link": ("late_link.h5", "late_link.h5 is a link to nothing; remove it."),
    "late_way_out": ("late_way_out", "late_way_out is a link out of the repository"),
    "late_two": ("late_two", "holds several models (a.h5, b.keras); keep one."),
}
BESIDE = {
    "late_v2": ("late_v2/v2", "not a version; versions are named 1, 2, 3"),
    "late_twin": ("late_twin.pb", "the model 'late_twin' is served from late_twin/"),
}
PLACES = {place for place, _ in (*LATE.values(), *BESIDE.values())}


def lay(living: Site) -> None:
    """Add each entry in one step, as a rename does."""
    away = living.folder / ".away"

    for name in ("late_tflite/2/late.tflite", "late_two/a.h5", "late_two/b.keras"):
        (away / name).parent.mkdir(parents=True, exist_ok=True)
        (away / name).touch()

    (away / "late_graph/1").mkdir(parents=True)
    (away / "late_graph/1/model.graphdef").write_bytes(b"\x0a\x00")
    (away / "late_onnx.onnx").touch()
    (away / "late_link.h5").symlink_to("nothing")
    (away / "late_way_out").symlink_to("/")

    for path in away.iterdir():
        path.rename(living.folder / path.name)

    away.rmdir()
    living.version("one", "late_v2", 1)
    (living.folder / "late_v2/v2").mkdir()
    living.bring("one", "late_twin/model.pb")
    living.bring("two", "late_twin.pb")


def remove(folder: Path) -> None:
    for path in [*folder.glob("late_*"), folder / "late_v2/v2"]:
        if path.name in ("late_v2", "late_twin"):
            continue

        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


async def told(living: Site, event: str, key: str, count: int) -> list[str]:
    """Return the log lines of late entries, once there are as many."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while True:
            said = [each[key] for each in living.events(event)]
            late = sorted(text for text in said if text.startswith("late_"))

            if len(late) >= count:
                return late

            await anyio.sleep(0.05)


async def test_late_entries_are_logged_once_and_named_in_the_404(
    client: Client, living: Site
) -> None:
    lay(living)
    said = await told(living, "entry passed over", "problem", len(PLACES))

    assert {text.partition(": ")[0] for text in said} == PLACES
    assert all(
        any(text.startswith(f"{place}: ") and words in text for text in said)
        for place, words in (*LATE.values(), *BESIDE.values())
    )

    for name, (place, words) in LATE.items():
        for answer in (await client.ask(name), await client.get(f"/v1/models/{name}")):
            assert answer.status_code == 404
            text = answer.json()["error"]
            assert f"Passed over: {place}: " in text
            assert words in text

    await client.serves("late_v2")
    answer = await client.ask("late_v2", place="/versions/2")
    assert "no version 2; served: 1. Passed over: late_v2/v2: not" in answer.text

    remove(living.folder)
    mended = await told(living, "entry no longer passed over", "entry", len(PLACES))

    assert set(mended) == PLACES
    assert await told(living, "entry passed over", "problem", 0) == said
    answer = await client.ask("late_graph")
    assert (answer.status_code, "Passed over" in answer.text) == (404, False)
