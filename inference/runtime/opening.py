"""Opens an artifact in the form of its graph that this machine runs."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING

import structlog

from inference.errors import (
    ExecutionFailed,
    InferenceError,
    InputMismatch,
    InvalidModel,
)
from inference.inputs.recorded_requests import ELSEWHERE, read_warmup
from inference.runtime.footprint import resident_bytes
from inference.runtime.warmup import replay
from inference.system.cpus import available_cpus
from inference.system.priority import BACKGROUND_STEPS, start_lowered

if TYPE_CHECKING:
    from inference.artifacts.artifact import Artifact, Manifest
    from inference.runtime.loader import Prepared
    from inference.runtime.servable import Servable
    from inference.runtime.tuning import Tuning

log = structlog.get_logger("tandem.engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """`seconds` is what measuring, mapping and warming took, `nbytes` the memory."""

    servable: Servable
    tuning: Tuning
    seconds: float
    nbytes: int


class ForeignArtifact(Exception):
    """It was compiled on another kind of machine, and no form of it runs here."""


class _CannotRun(Exception):
    """The form of the graph fails on inputs that it took when it was compiled."""


def open_artifact(
    prepared: Prepared, like: Tuning | None, *, background: bool
) -> Opened:
    """The first form that runs here, measured and warm.

    Raises `ForeignArtifact`, `DamagedArtifact`, and `InvalidModel` where the recorded
    requests fail.
    """
    _start_runtime()
    manifest = prepared.compiled.manifest
    reason = "it has no form for other machines"

    if _is_foreign(manifest) and manifest.portable:
        _tell(prepared, "its portable form serves: compiled on another machine")

    for artifact in _forms(prepared):
        try:
            return _open(prepared, artifact, like, background=background)
        except _CannotRun as exc:
            reason = str(exc)
            _tell(prepared, "a form of the compiled model doesn't run", reason=reason)

    if _is_hopeless(manifest):
        raise ForeignArtifact(reason)

    # It was made for such a machine, or has never taken its sample.
    usual = prepared.compiled.artifact
    return _open(prepared, usual, like, background=background, last=True)


def _tell(prepared: Prepared, event: str, **more: str) -> None:
    from inference.runtime.servable import this_machine

    log.info(
        event,
        model=prepared.files.id.name,
        compiled_on=str(prepared.compiled.manifest.machine),
        here=str(this_machine()),
        **more,
    )


@cache
def _start_runtime() -> None:
    """Import TensorFlow: it takes seconds, and whoever only compiles never needs it.

    A full collection walks its objects and stops the server for 180 ms: they are taken
    out of it. Models come later, as their cycles must be collected when they go; a
    collection of theirs takes less than a millisecond each.
    """
    import inference.runtime.servable  # noqa: F401

    gc.collect()
    gc.freeze()


def _is_foreign(manifest: Manifest) -> bool:
    from inference.runtime.servable import is_foreign

    return is_foreign(manifest)


def _is_hopeless(manifest: Manifest) -> bool:
    """Return whether no form was made for such a machine, or is known to run on it."""
    from inference.runtime.servable import this_machine

    untried = not manifest.native or manifest.portable is not None
    return manifest.machine != this_machine() and (manifest.warms_up or not untried)


def _forms(prepared: Prepared) -> list[Artifact]:
    """List the forms to be tried on the sample, best first."""
    manifest, usual = prepared.compiled.manifest, prepared.compiled.artifact
    portable = [replace(usual, portable=True)] if manifest.portable else []
    forms = portable if _is_foreign(manifest) else [usual, *portable]
    return forms if manifest.warms_up else []


def _open(
    prepared: Prepared,
    artifact: Artifact,
    like: Tuning | None,
    *,
    background: bool,
    last: bool = False,
) -> Opened:
    from inference.runtime.servable import Servable, Threads

    started = time.monotonic()
    before = resident_bytes()
    limits = prepared.limits
    tuning = _tune(prepared, artifact, like, background=background)
    servable = Servable(
        artifact,
        threads=Threads(intra_op=tuning.intra_op, calls=tuning.concurrency),
        time_limit=limits.timeout_seconds,
    )

    try:
        _warm_up(servable, prepared, last=last)
    except BaseException:
        servable.close()
        raise

    name = prepared.files.id.name
    log.info("calls at a time", model=name, chosen=tuning.describe())

    if prepared.files.warmup is None and (prepared.files.path / ELSEWHERE).is_file():
        log.info("recorded requests not read", model=name, file=ELSEWHERE)

    return Opened(
        servable=servable,
        tuning=tuning,
        seconds=time.monotonic() - started,
        nbytes=resident_bytes() - before,
    )


def _tune(
    prepared: Prepared, artifact: Artifact, like: Tuning | None, *, background: bool
) -> Tuning:
    from inference.runtime.tuning import BATCH_ROWS, tune

    limits = prepared.limits
    measuring = partial(
        tune,
        artifact,
        cpus=available_cpus(),
        rows=min(BATCH_ROWS, limits.batching.max_rows),
        concurrency=limits.concurrency,
        intra_op=limits.intra_op_threads,
        like=like,
    )
    # It takes all CPUs for a moment, from those who are answered meanwhile.
    return start_lowered(measuring, BACKGROUND_STEPS) if background else measuring()


def _warm_up(servable: Servable, prepared: Prepared, *, last: bool) -> None:
    recorded = read_warmup(prepared.files)

    try:
        if recorded:
            replay(servable, recorded)
        else:
            servable.warm_up()
    except InferenceError as exc:
        if not last:
            _expect_sample(servable)

        if recorded:
            raise InvalidModel(f"It failed on a recorded request: {exc}") from exc

        # Zeros may be wrong for it; its clients' inputs need not be.
        log.info("warm-up failed", model=prepared.files.id.name, reason=str(exc))


def _expect_sample(servable: Servable) -> None:
    """Raises `_CannotRun` where it fails on what the compiler ran it on."""
    try:
        servable.warm_up()
    except (ExecutionFailed, InputMismatch) as exc:
        raise _CannotRun(str(exc)) from exc
    except InferenceError:
        # It may be slow, but it runs.
        return
