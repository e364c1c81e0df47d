"""Keeps what was measured of a model, beside its artifact, for machines of a kind."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inference.system.cpus import cpu_name

if TYPE_CHECKING:
    from collections.abc import Mapping

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_FORMAT = 2


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Circumstances(_Value):
    """All that figures depend on, but for the model: in other ones they are void.

    `cpus` of kind `cpu` in use, `rows` in a call; whether it is the `portable` form of
    the graph that was called.
    """

    format_version: int = _FORMAT
    cpus: Count
    cpu: str
    onednn: bool
    portable: bool
    tensorflow: str
    rows: Count


class _Entry(_Value):
    concurrency: Count
    intra_op: Count
    rows_per_second: Rate


class _Content(_Value):
    circumstances: Circumstances
    measured: Annotated[tuple[_Entry, ...], Field(min_length=1)]


def circumstances(
    *, cpus: int, rows: int, onednn: bool, portable: bool
) -> Circumstances:
    """Return this machine's facts, where TensorFlow uses `onednn` or doesn't."""
    return Circumstances(
        cpus=cpus,
        cpu=cpu_name(),
        onednn=onednn,
        portable=portable,
        tensorflow=version("tensorflow"),
        rows=rows,
    )


@dataclass(frozen=True, slots=True)
class TuningFile:
    """The figures of one model in some circumstances; each have a file of their own.

    Several machines may share the folder, and it may be read-only.
    """

    folder: Path
    circumstances: Circumstances

    @property
    def path(self) -> Path:
        text = self.circumstances.model_dump_json().encode()
        return self.folder / f"tuning-{hashlib.sha256(text).hexdigest()[:16]}.json"

    def read(self) -> dict[tuple[int, int], float]:
        """Rows per second by (concurrency, intra_op); empty if none are kept."""
        try:
            content = _Content.model_validate_json(self.path.read_bytes())
        except (OSError, ValidationError):
            return {}

        if content.circumstances != self.circumstances:
            return {}

        return {
            (entry.concurrency, entry.intra_op): entry.rows_per_second
            for entry in content.measured
        }

    def write(self, measured: Mapping[tuple[int, int], float]) -> bool:
        """Keep the figures, in one step; returns whether that was possible."""
        entries = [
            _Entry(concurrency=calls, intra_op=threads, rows_per_second=rate)
            for (calls, threads), rate in measured.items()
        ]
        content = _Content(circumstances=self.circumstances, measured=tuple(entries))

        try:
            self._replace(content.model_dump_json(indent=2))
        except OSError:
            return False

        return True

    def _replace(self, text: str) -> None:
        with tempfile.NamedTemporaryFile(
            "w", dir=self.folder, prefix=".tuning-", delete=False
        ) as file:
            file.write(text)

        try:
            Path(file.name).replace(self.path)
        except OSError:
            Path(file.name).unlink(missing_ok=True)
            raise
