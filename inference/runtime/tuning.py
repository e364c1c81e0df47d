"""Tuning of a model's concurrent calls and of the threads for each.

The best pair depends on the model and the machine, so the pairs that fill its CPUs are
measured on the model's own sample. The measurements are kept with the artifact, for the
next start on a machine of the same kind.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inference.artifacts.artifact import signatures_of
from inference.errors import InferenceError
from inference.runtime.servable import takes_portable, this_machine
from inference.runtime.throughput import measure
from inference.system.cpus import cpu_name
from inference.system.versions import version_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference.artifacts.artifact import Artifact
    from inference.runtime.throughput import Pair
    from inference.types import Signature

BATCH_ROWS = 8
"""The rows of a measured call, if the server may join requests to as many."""

BUDGET_SECONDS = 2.0
_CLOSE = 0.9
_FORMAT = 2

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """`concurrency` calls at a time, whose operations may use `intra_op` threads.

    `measured` has the rows per second of each pair (concurrency, intra_op); `reason`
    is their origin, or why there are none. `kept` says that they are on disk.
    """

    concurrency: int
    intra_op: int
    reason: str
    measured: Mapping[Pair, float] = field(default_factory=dict)
    kept: bool = False

    def describe(self) -> str:
        """Return one line for the log: the choice, its reason, and each pair's rate."""
        chosen = f"{self.concurrency}x{self.intra_op} calls x threads, {self.reason}"
        rates = [
            f"{calls}x{threads} {rate:,.{0 if rate >= 10 else 2}f}"
            for (calls, threads), rate in self.measured.items()
        ]
        return f"{chosen}: {', '.join(rates)} rows/s" if rates else chosen


def tune(
    artifact: Artifact,
    *,
    cpus: int,
    rows: int = BATCH_ROWS,
    concurrency: int | None = None,
    intra_op: int | None = None,
    like: Tuning | None = None,
) -> Tuning:
    """Choose the best pair on `cpus` CPUs; given values are taken as they are.

    A call has `rows` rows, if the signature is batchable. Blocks for about
    `BUDGET_SECONDS`, or for one call if that is longer, unless there is no choice or
    measurements are on disk. Those of `like`, a version that differs in its weights'
    values alone, are used too. Raises `DamagedArtifact`.
    """
    if cpus == 1 or concurrency is not None or intra_op is not None:
        return _given(cpus, concurrency, intra_op)

    signature = _signature(artifact)

    if signature is None:
        return _unmeasured(cpus, "no inputs are known that it takes")

    file = _file(artifact, cpus=cpus, rows=rows)
    kept = file.read()

    if kept:
        return _chosen(kept, "measured earlier", kept=True)

    if like is not None and like.measured:
        # Measuring takes the CPUs from requests in flight.
        figures, reason = like.measured, "measured for the version before"
        return _chosen(figures, reason, kept=file.write(figures))

    return _measured(artifact, signature, cpus, rows, file)


def pairs(cpus: int) -> list[Pair]:
    """Return the pairs (concurrency, intra_op) to measure on so many CPUs."""
    # The extremes first, as there may be no time for all.
    between = []
    calls = 2

    while calls < cpus:
        between.append((calls, cpus // calls))
        calls *= 2

    return list(dict.fromkeys([(1, cpus), (cpus, 1), *between]))


def choose(measured: Mapping[Pair, float]) -> Pair:
    """Return the fastest pair, or one close to it with fewer calls."""
    # Fewer calls at a time make larger batches, and hinder each other less.
    enough = max(measured.values()) * _CLOSE
    return min(pair for pair, rate in measured.items() if rate >= enough)


def _file(artifact: Artifact, *, cpus: int, rows: int) -> TuningFile:
    here = circumstances(
        cpus=cpus,
        rows=rows,
        onednn=this_machine().onednn,
        portable=takes_portable(artifact, artifact.read_manifest()),
    )
    return TuningFile(artifact.folder, here)


def _measured(
    artifact: Artifact, signature: Signature, cpus: int, rows: int, file: TuningFile
) -> Tuning:
    """Measure the pairs, and keep what was measured in `file`."""
    try:
        measured = measure(
            artifact, signature, pairs(cpus), rows=rows, seconds=BUDGET_SECONDS
        )
    except InferenceError as exc:
        return _unmeasured(cpus, str(exc))

    if len(measured) < 2:
        return _unmeasured(cpus, "a call takes too long")

    return _chosen(measured, "measured", kept=file.write(measured))


def _given(cpus: int, concurrency: int | None, intra_op: int | None) -> Tuning:
    """Derive the value that isn't given."""
    # Together they fill the CPUs.
    calls = concurrency or max(1, cpus // (intra_op or cpus))
    threads = intra_op or max(1, cpus // calls)
    only = concurrency is None and intra_op is None
    return Tuning(
        concurrency=calls, intra_op=threads, reason="one CPU" if only else "as set"
    )


def _unmeasured(cpus: int, why: str) -> Tuning:
    """Run as many calls as CPUs, each on all of them."""
    # No model leaves CPUs idle so, at the price of some contention.
    return Tuning(concurrency=cpus, intra_op=cpus, reason=f"not measured ({why})")


def _chosen(measured: Mapping[Pair, float], reason: str, *, kept: bool) -> Tuning:
    calls, threads = choose(measured)
    return Tuning(
        concurrency=calls,
        intra_op=threads,
        reason=reason,
        measured=measured,
        kept=kept,
    )


def _signature(artifact: Artifact) -> Signature | None:
    """Return the default signature, or another, that has a sample."""
    manifest = artifact.read_manifest()
    signatures = signatures_of(manifest)
    default = signatures.pop(manifest.default_signature, None)
    every = (default, *signatures.values())
    return next((each for each in every if each and each.sample is not None), None)


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Circumstances(_Value):
    """The conditions of a measurement besides the model; it holds in no others.

    `cpus` of kind `cpu` were in use, `rows` in a call; `portable` says that the
    portable form of the graph was called.
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
    """Return this machine's measurement conditions."""
    return Circumstances(
        cpus=cpus,
        cpu=cpu_name(),
        onednn=onednn,
        portable=portable,
        tensorflow=version_of("tensorflow"),
        rows=rows,
    )


@dataclass(frozen=True, slots=True)
class TuningFile:
    """The file of one model's measurements in some circumstances.

    Several machines may share the folder, and it may be read-only.
    """

    folder: Path
    circumstances: Circumstances

    @property
    def path(self) -> Path:
        text = self.circumstances.model_dump_json().encode()
        return self.folder / f"tuning-{hashlib.sha256(text).hexdigest()[:16]}.json"

    def read(self) -> dict[tuple[int, int], float]:
        """Return rows per second by (concurrency, intra_op), empty if none are kept."""
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
        """Replace the file atomically; return whether that was possible."""
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
        file = tempfile.NamedTemporaryFile(
            "w", dir=self.folder, prefix=".tuning-", delete=False
        )

        try:
            with file:
                file.write(text)

            Path(file.name).replace(self.path)
        except OSError:
            Path(file.name).unlink(missing_ok=True)
            raise
