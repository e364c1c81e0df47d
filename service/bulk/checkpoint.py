"""A file that is written over several runs: what is there, and how far it is."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from service.bulk.run import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SAVE_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A place in the output up to which it holds: `nbytes` with `rows` rows.

    `failed` are those that failed, `early` as many as did before any other row.
    """

    rows: int = 0
    nbytes: int = 0
    early: int = 0
    failed: dict[int, str] = field(default_factory=dict)


class Checkpoint:
    """An output that is there once it is whole, and goes on after an interruption.

    Until then it is in a hidden file beside it; a second one there tells how much of it
    holds, for which work: `key` names the rows and the model. Another key begins anew.
    """

    def __init__(self, output: Path, key: str) -> None:
        self._output = output
        self._part = output.with_name(f".{output.name}.part")
        self._note = output.with_name(f".{output.name}.part.json")
        self._key = key
        self._saved = time.monotonic()
        self.mark = self._read()

    @property
    def progress(self) -> Progress:
        return Progress(rows=self.mark.rows, failed=dict(self.mark.failed))

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Yield the file, at its end; put it in place unless the block raises.

        Raise `OSError`.
        """
        with self._part.open("r+b" if self.mark.nbytes else "w+b") as file:
            file.truncate(self.mark.nbytes)
            file.seek(self.mark.nbytes)

            try:
                yield file
            except BaseException:
                self._save(file)
                raise

        self._part.replace(self._output)
        self._note.unlink(missing_ok=True)

    def note(self, file: BinaryIO, progress: Progress, early: int) -> None:
        """Note that the file holds so far; write that down now and then."""
        self.mark = Mark(
            rows=progress.rows,
            nbytes=file.tell(),
            early=early,
            failed=dict(progress.failed),
        )

        if time.monotonic() - self._saved >= SAVE_SECONDS:
            self._save(file)

    def discard(self) -> None:
        """Forget what there is."""
        self._part.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def _save(self, file: BinaryIO) -> None:
        file.flush()
        mark = self.mark
        text = json.dumps(
            {
                "key": self._key,
                "rows": mark.rows,
                "bytes": mark.nbytes,
                "early": mark.early,
                "failed": mark.failed,
            }
        )
        scratch = self._note.with_suffix(".new")
        scratch.write_text(text, "utf-8")
        scratch.replace(self._note)
        self._saved = time.monotonic()

    def _read(self) -> Mark:
        try:
            found = json.loads(self._note.read_bytes())
            whole = self._part.stat().st_size >= found["bytes"]

            if found["key"] != self._key or not whole:
                return Mark()

            return Mark(
                rows=found["rows"],
                nbytes=found["bytes"],
                early=found["early"],
                failed={int(row): text for row, text in found["failed"].items()},
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # None, or none of ours.
            return Mark()
