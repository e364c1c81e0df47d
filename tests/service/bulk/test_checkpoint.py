from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from service.bulk.checkpoint import Checkpoint
from service.bulk.run import BulkRun, Progress
from service.bulk.sinks import LineSink
from service.bulk.sources import ArrayFile
from tests.service.bulk.models import Doubling, signature

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS = 100


def run(
    folder: Path, model: Doubling, key: str, after: Callable[[Progress], None]
) -> None:
    checkpoint = Checkpoint(folder / "out.ndjson", key)
    progress = checkpoint.progress

    with checkpoint.opened() as file:

        def written() -> None:
            checkpoint.note(file, progress, 0)
            after(progress)

        BulkRun(
            model=model,
            signature=signature(),
            source=ArrayFile(folder / "rows.npy"),
            sink=LineSink(file.write),
            progress=progress,
            written=written,
        ).run()


def interrupted(progress: Progress) -> None:
    if progress.rows >= ROWS // 2:
        raise KeyboardInterrupt


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    np.save(tmp_path / "rows.npy", np.arange(ROWS, dtype=np.float64))

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Doubling(), "a key", interrupted)

    return tmp_path


def check(folder: Path) -> None:
    lines = (folder / "out.ndjson").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [2 * row for row in range(ROWS)]
    assert sorted(path.name for path in folder.iterdir()) == ["out.ndjson", "rows.npy"]


def test_an_output_is_there_only_once_it_is_whole(folder: Path) -> None:
    assert not (folder / "out.ndjson").exists()


def test_a_run_goes_on_where_it_was_interrupted(folder: Path) -> None:
    model = Doubling()
    run(folder, model, "a key", lambda _: None)

    check(folder)
    assert sum(model.calls) <= ROWS // 2


def test_other_work_begins_anew(folder: Path) -> None:
    model = Doubling()
    run(folder, model, "another key", lambda _: None)

    check(folder)
    assert sum(model.calls) == ROWS


def test_bytes_after_the_last_note_are_written_again(folder: Path) -> None:
    with (folder / ".out.ndjson.part").open("ab") as file:
        file.write(b"half a li")

    run(folder, Doubling(), "a key", lambda _: None)

    check(folder)


@pytest.mark.parametrize("note", [b"", b"[]", b"{}", b'{"key": "a key"}', None])
def test_a_note_that_tells_nothing_begins_anew(
    folder: Path, note: bytes | None
) -> None:
    path = folder / ".out.ndjson.part.json"

    if note is None:
        # Less is there than was noted, as after a power cut.
        (folder / ".out.ndjson.part").write_bytes(b"")
    else:
        path.write_bytes(note)

    model = Doubling()
    run(folder, model, "a key", lambda _: None)

    check(folder)
    assert sum(model.calls) == ROWS


def test_work_that_is_given_up_leaves_nothing(folder: Path) -> None:
    Checkpoint(folder / "out.ndjson", "a key").discard()

    assert [path.name for path in folder.iterdir()] == ["rows.npy"]
