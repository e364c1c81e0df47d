from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference import InputMismatch, LoadFailed
from service.bulk.run import MOST_FAILED, BulkRun, Progress, TooManyFailed
from service.bulk.sinks import LineSink
from service.bulk.sources import ArrayFile
from tests.service.bulk.models import REFUSED, Doubling, signature

if TYPE_CHECKING:
    from pathlib import Path

    from service.bulk.run import Model


def run(
    path: Path, model: Model, progress: Progress | None = None, **changes: Any
) -> tuple[list[Any], Progress]:
    """Run the rows of a file; return the lines that were written, and the progress."""
    written: list[bytes] = []
    progress = progress or Progress()
    BulkRun(
        model=model,
        signature=signature(**changes),
        source=ArrayFile(path),
        sink=LineSink(written.append),
        progress=progress,
        written=lambda: None,
    ).run()
    return [json.loads(line) for line in b"".join(written).splitlines()], progress


def saved(folder: Path, rows: list[float]) -> Path:
    path = folder / "rows.npy"
    np.save(path, np.array(rows))
    return path


def test_answers_are_written_in_the_order_of_the_rows(tmp_path: Path) -> None:
    rows = [float(row) for row in range(1000)]

    written, progress = run(saved(tmp_path, rows), Doubling(threads=4))

    assert written == [2 * row for row in rows]
    assert progress == Progress(rows=1000)


def test_rows_that_fail_are_found_and_the_others_answered(tmp_path: Path) -> None:
    rows = [0.0, REFUSED, 2.0, 3.0, 4.0, REFUSED]

    written, progress = run(saved(tmp_path, rows), Doubling())

    refused = {"error": "it is refused"}
    assert written == [0.0, refused, 4.0, 6.0, 8.0, refused]
    assert progress.failed == {2: "it is refused", 6: "it is refused"}
    assert progress.rows == 6


def test_a_run_ends_where_too_many_rows_fail(tmp_path: Path) -> None:
    rows = [REFUSED] * (MOST_FAILED + 1)

    with pytest.raises(TooManyFailed, match=f"Row {MOST_FAILED + 1}: it is refused"):
        run(saved(tmp_path, rows), Doubling())


def test_a_run_goes_on_after_the_rows_that_are_done(tmp_path: Path) -> None:
    model = Doubling()

    written, progress = run(saved(tmp_path, [0.0, 1.0, 2.0]), model, Progress(rows=2))

    assert written == [4.0]
    assert model.calls == [1]
    assert progress.rows == 3


def test_an_error_that_no_row_causes_ends_the_run(tmp_path: Path) -> None:
    class Broken(Doubling):
        def run(self, *_: Any) -> Any:
            raise LoadFailed("it is broken")

    with pytest.raises(LoadFailed):
        run(saved(tmp_path, [0.0, 1.0]), Broken())


def test_a_signature_of_one_row_gets_one_row_a_call(tmp_path: Path) -> None:
    model = Doubling()

    run(saved(tmp_path, [0.0, 1.0, 2.0]), model, shape=(1,))

    assert model.calls == [1, 1, 1]


def test_a_mistake_in_a_row_is_that_rows(tmp_path: Path) -> None:
    class Picky(Doubling):
        def run(self, signature: Any, inputs: Any) -> Any:
            if len(next(iter(inputs.values()))) > 1:
                raise InputMismatch("one at a time")

            return super().run(signature, inputs)

    written, progress = run(saved(tmp_path, [1.0, 2.0, 3.0]), Picky())

    assert written == [2.0, 4.0, 6.0]
    assert progress.failed == {}
