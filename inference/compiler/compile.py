"""Source → artifact: try each form of the graph, keep the first that proves right."""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import TYPE_CHECKING

from inference.artifact import Artifact, Manifest, signature_entry
from inference.artifact_cache import SHAPING_PACKAGES
from inference.compiler.assembly import assemble
from inference.compiler.optimization import recipes
from inference.compiler.verification import (
    Refusal,
    Trial,
    attempt,
    compare,
    prove_batchable,
)
from inference.errors import InvalidModel
from inference.footprint import OVERHEAD, expected_bytes, resident_bytes
from inference.permissions import Permissions
from inference.reasons import first_line
from inference.runtime import Servable, trim_memory
from inference.sidecar import blaming_sidecar, read_sidecar
from inference.sources.naming import check_names
from inference.sources.opening import open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from inference.compiler.optimization import Form
    from inference.sources.source import Source


def compile_model(
    path: Path,
    sidecar: Path | None,
    folder: Path,
    report: Callable[[str], None],
    *,
    permissions: Permissions | None = None,
) -> Manifest:
    """Compile the model at `path` into `folder`, which exists and is empty.

    `report` hears what is being done. Raises `InvalidModel`, `InvalidSidecar`. The
    caller fills in what the manifest says of the source file.
    """
    started = time.monotonic()
    report("reading")

    config = read_sidecar(sidecar)

    opened = open_source(path, config, permissions or Permissions())

    with blaming_sidecar(sidecar), opened as source:
        check_names(source.signatures)
        report("running the source")
        trials = [attempt(source, each) for each in source.signatures.values()]
        manifest = _first_right(source, trials, folder, report)

    return manifest.model_copy(
        update={
            "compiled_with": {name: version(name) for name in SHAPING_PACKAGES},
            "compile_seconds": round(time.monotonic() - started, 3),
        }
    )


def _first_right(
    source: Source,
    trials: Sequence[Trial | Refusal],
    folder: Path,
    report: Callable[[str], None],
) -> Manifest:
    failures: list[str] = []
    last: Exception | None = None
    ways = recipes(source)

    # What can't be compared with the source is served as the source wrote it.
    if not all(isinstance(trial, Trial) and trial.steady for trial in trials):
        ways = ways[-1:]

    for level, make in ways:
        report(f"optimising ({level})")

        try:
            return _checked(source, make(), trials, folder, failures)
        except Exception as exc:
            # TensorFlow's optimisers raise anything; a lesser form comes next.
            failures.append(f"{level}: {first_line(exc)}")
            last = exc

    raise InvalidModel(
        "No form of the graph gave what its source gave. " + "; ".join(failures)
    ) from last


def _checked(
    source: Source,
    form: Form,
    trials: Sequence[Trial | Refusal],
    folder: Path,
    failures: Sequence[str],
) -> Manifest:
    manifest = assemble(folder, source, form)
    artifact = Artifact(folder)
    artifact.manifest.write_text(manifest.model_dump_json())

    trim_memory()
    before = resident_bytes()

    with Servable(artifact) as servable:
        gaps = [compare(servable, each) for each in trials if isinstance(each, Trial)]
        signatures = [prove_batchable(servable, trial) for trial in trials]
        memory_bytes = resident_bytes() - before

    return manifest.model_copy(
        update={
            "memory_bytes": max(memory_bytes, expected_bytes(manifest)) + OVERHEAD,
            "largest_difference": max(
                (gap for gap in gaps if gap is not None), default=None
            ),
            "signatures": {each.name: signature_entry(each) for each in signatures},
            "notes": (*source.notes, *_notes(trials), *failures),
        }
    )


def _notes(trials: Sequence[Trial | Refusal]) -> list[str]:
    notes = []

    for trial in trials:
        name = trial.signature.name

        if isinstance(trial, Refusal):
            notes.append(
                f"Signature '{name}' took no sample inputs ({trial.reason}), so its "
                "outputs could not be compared with the source's; the graph is served "
                "as it was written."
            )
        elif not trial.steady:
            notes.append(
                f"Signature '{name}' answers differently from call to call; the graph "
                "is served as it was written."
            )

    return notes
