"""Loading of an artifact in the form of its graph that this machine runs."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import structlog

from inference.errors import (
    ExecutionFailed,
    InferenceError,
    InputMismatch,
    InvalidModel,
)
from inference.inputs.images import PLAIN
from inference.inputs.recorded_requests import TFS_WARMUP, read_warmup
from inference.runtime.footprint import resident_bytes
from inference.runtime.warmup import replay
from inference.system.cpus import available_cpus
from inference.system.priority import BACKGROUND_STEPS, start_lowered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference.artifacts.artifact import Artifact, Manifest
    from inference.inputs.images import Preprocessing
    from inference.limits import Batching, Limits
    from inference.runtime.loader import Prepared
    from inference.runtime.servable import Servable
    from inference.runtime.tuning import Tuning

log = structlog.get_logger("tandem.engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A servable in memory, with its limits and each signature's batching in `plans`.

    `seconds` is the time for measuring, mapping and warm-up, `nbytes` the memory,
    `classes` the names of the classes that it tells, `digest` that of `Prepared`.
    Encoded images go through `preprocessing`.
    """

    servable: Servable
    limits: Limits
    plans: Mapping[str, Batching]
    concurrency: int
    seconds: float
    nbytes: int = 0
    classes: tuple[str, ...] = ()
    digest: str = ""
    preprocessing: Preprocessing = PLAIN


class ForeignArtifact(Exception):
    """The artifact is of another kind of machine, and no form of it runs here."""


class _FormFails(Exception):
    """A form of the graph fails on inputs that it took when it was compiled."""


def open_artifact(
    prepared: Prepared, like: Tuning | None, *, background: bool
) -> tuple[Loaded, Tuning]:
    """Load the first form that runs here; measure it and warm it up.

    `like` is the tuning of a version that differs in its weights' values alone.

    Raises `ForeignArtifact`, `DamagedArtifact`, and `InvalidModel` where the recorded
    requests fail.
    """
    manifest = prepared.compiled.manifest
    reason = "it has no form for other machines"

    if _is_foreign(manifest) and manifest.portable:
        _log(prepared, "its portable form serves: compiled on another machine")

    for artifact in _forms(prepared):
        try:
            return _open(prepared, artifact, like, background=background)
        except _FormFails as exc:
            reason = str(exc)
            _log(prepared, "a form of the compiled model doesn't run", reason=reason)

    if _must_recompile(manifest):
        raise ForeignArtifact(reason)

    # It was made for this kind of machine, or no sample is known to run.
    usual = prepared.compiled.artifact
    return _open(prepared, usual, like, background=background, last=True)


def _log(prepared: Prepared, event: str, **more: str) -> None:
    from inference.runtime.servable import this_machine

    log.info(
        event,
        model=prepared.files.id.name,
        compiled_on=str(prepared.compiled.manifest.machine),
        here=str(this_machine()),
        **more,
    )


def _is_foreign(manifest: Manifest) -> bool:
    from inference.runtime.servable import is_foreign

    return is_foreign(manifest)


def _must_recompile(manifest: Manifest) -> bool:
    """Return whether no form was made for this machine, or is known to run on it."""
    from inference.runtime.servable import this_machine

    untried = not manifest.native or manifest.portable is not None
    return manifest.machine != this_machine() and (manifest.warms_up or not untried)


def _forms(prepared: Prepared) -> list[Artifact]:
    """List the forms to try on the sample, best first."""
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
) -> tuple[Loaded, Tuning]:
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

    _log_choices(prepared, tuning)
    loaded = Loaded(
        servable=servable,
        limits=limits,
        plans=prepared.plans,
        concurrency=tuning.concurrency,
        seconds=time.monotonic() - started,
        nbytes=max(prepared.nbytes, resident_bytes() - before),
        classes=prepared.classes,
        digest=prepared.digest,
        preprocessing=prepared.preprocessing,
    )
    return loaded, tuning


def _log_choices(prepared: Prepared, tuning: Tuning) -> None:
    files = prepared.files
    log.info("calls at a time", model=files.id.name, chosen=tuning.describe())

    if files.warmup is None and (files.path / TFS_WARMUP).is_file():
        log.info("recorded requests not read", model=files.id.name, file=TFS_WARMUP)


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
    # Measuring takes all CPUs for a moment; requests in flight go first.
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
            _check_sample(servable)

        if recorded:
            raise InvalidModel(f"It failed on a recorded request: {exc}") from exc

        # It may refuse the zeros of a sample and still take its clients' inputs.
        log.info("warm-up failed", model=prepared.files.id.name, reason=str(exc))


def _check_sample(servable: Servable) -> None:
    """Raise `_FormFails` if it fails on the sample that the compiler ran it on."""
    try:
        servable.warm_up()
    except (ExecutionFailed, InputMismatch) as exc:
        raise _FormFails(str(exc)) from exc
    except InferenceError:
        # A timeout, for example: it may be slow, but it runs.
        return
