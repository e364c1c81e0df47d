"""Source → artifact: build each form of the graph, keep the first that is verified."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from inference.artifacts.artifact import Artifact, Manifest, signature_entry
from inference.artifacts.cache import SHAPING_PACKAGES
from inference.compiler.assembly import add_portable, assemble, remove_portable
from inference.compiler.rewriting.forms import form_builders
from inference.compiler.rewriting.lengths import lengths_checked
from inference.compiler.sandbox.limit_errors import is_system_error
from inference.compiler.state.repeatable import is_repeatable
from inference.compiler.state.stateless import make_stateless
from inference.compiler.verification.equality import Mismatch, compare, prove_batchable
from inference.compiler.verification.sample_runs import (
    SampleRejection,
    SampleRun,
    run_samples,
)
from inference.errors import InferenceError, InvalidModel, first_line
from inference.formats.naming import check_names
from inference.formats.opening import open_source
from inference.inputs.given_samples import from_requests, from_sample
from inference.inputs.recorded_requests import read_first
from inference.inputs.sample_file import read_sample, sample_path
from inference.permissions import Permissions
from inference.repository.sidecar import read_sidecar, sidecar_errors
from inference.runtime.footprint import OVERHEAD, expected_bytes, resident_bytes
from inference.runtime.servable import Servable, sample_inputs, trim_memory
from inference.system.versions import version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from inference.compiler.rewriting.forms import GraphForm
    from inference.formats.graph.source import Source
    from inference.inputs.given_samples import GivenSample
    from inference.repository.sidecar import Sidecar
    from inference.types import Signature

RUN_SECONDS = 120.0
"""After which a run of the artifact ends at its loop's next turn."""


def compile_model(
    path: Path,
    sidecar: Path | None,
    folder: Path,
    report: Callable[[str], None],
    *,
    permissions: Permissions | None = None,
    warmup: Path | None = None,
) -> Manifest:
    """Compile the model at `path` into `folder`, which exists and is empty.

    The model is run on the sidecar's sample, on requests recorded in `warmup`, and on
    generated inputs. `report` is called with the name of each stage. The caller fills
    in the manifest's fields about the source files. Raise `InvalidModel` or
    `InvalidSidecar`.
    """
    started = time.monotonic()
    report("reading")
    config = read_sidecar(sidecar)
    allowed = permissions or Permissions()

    with (
        sidecar_errors(sidecar),
        open_source(path, config, allowed) as source,
        make_stateless(source, carried=config.carry_state),
        lengths_checked(source),
    ):
        check_names(source.signatures)
        _mark_repeatable(source)
        report("running the source")
        given = _given_samples(source, _sample_path(sidecar, config, allowed), warmup)
        runs = _run_signatures(source, given)
        manifest = _first_verified(source, runs, folder, report)

    return manifest.model_copy(
        update={
            "compiled_with": {name: version_of(name) for name in SHAPING_PACKAGES},
            "compile_seconds": round(time.monotonic() - started, 3),
        }
    )


def _mark_repeatable(source: Source) -> None:
    source.signatures = {
        name: replace(each, repeatable=is_repeatable(source.graph_def, each))
        for name, each in source.signatures.items()
    }


def _sample_path(
    sidecar: Path | None, config: Sidecar, permissions: Permissions
) -> Path | None:
    if sidecar is None or config.sample is None:
        return None

    return sample_path(sidecar, config.sample, permissions.follow_links_to)


def _given_samples(
    source: Source, sample: Path | None, warmup: Path | None
) -> dict[str, list[GivenSample]]:
    """Return real inputs by signature, the sidecar's first. Raise `InvalidSidecar`."""
    signatures = source.signatures
    recorded = from_requests(read_first(warmup), signatures, source.default_signature)
    sampled = {}

    if sample is not None:
        sampled = from_sample(read_sample(sample), signatures, sample.name)

    return {
        name: [each[name] for each in (sampled, recorded) if name in each]
        for name in signatures
    }


def _run_signatures(
    source: Source, given: Mapping[str, Sequence[GivenSample]]
) -> list[SampleRun | SampleRejection]:
    """Run each signature on samples; leave out those that can never run here."""
    runs = [
        run_samples(source, each, given[name])
        for name, each in source.signatures.items()
    ]
    never = {
        each.signature.name: each.reason
        for each in runs
        if isinstance(each, SampleRejection) and each.never_runs
    }

    if len(never) == len(runs):
        raise InvalidModel("; ".join(dict.fromkeys(never.values())))

    source.leave_out(never)
    return [each for each in runs if each.signature.name not in never]


def _first_verified(
    source: Source,
    runs: Sequence[SampleRun | SampleRejection],
    folder: Path,
    report: Callable[[str], None],
) -> Manifest:
    failures: list[str] = []
    last: Exception | None = None
    builders = form_builders(source)

    # Without deterministic outputs only the plain form can be served: none is verified.
    if not all(isinstance(run, SampleRun) and run.deterministic for run in runs):
        builders = builders[-1:]

    for number, (level, make) in enumerate(builders, start=1):
        report(f"optimising ({level})")

        try:
            manifest = _verified(source, make(), runs, folder, failures)
            return _with_portable(source, manifest, runs, folder, builders[number:])
        except Exception as exc:
            if is_system_error(exc):
                raise

            # TensorFlow's optimisers raise any exception; try the next form.
            failures.append(f"{level}: {first_line(exc)}")
            last = exc

    raise InvalidModel(
        "No form of the graph gives the outputs of its source. " + "; ".join(failures)
    ) from last


def _verified(
    source: Source,
    form: GraphForm,
    runs: Sequence[SampleRun | SampleRejection],
    folder: Path,
    failures: Sequence[str],
) -> Manifest:
    manifest = assemble(folder, source, form)
    artifact = Artifact(folder)
    artifact.write_manifest(manifest)

    # Freed memory that malloc still holds would distort the measurement.
    trim_memory()
    before = resident_bytes()

    with Servable(artifact, time_limit=RUN_SECONDS) as servable:
        differences = [
            compare(servable, each) for each in runs if isinstance(each, SampleRun)
        ]
        signatures = [prove_batchable(servable, run) for run in runs]
        memory_bytes = resident_bytes() - before
        warms_up = _warms_up(servable, signatures)

    return manifest.model_copy(
        update={
            "memory_bytes": max(memory_bytes, expected_bytes(manifest)) + OVERHEAD,
            "largest_difference": max(
                (difference for difference in differences if difference is not None),
                default=None,
            ),
            "signatures": {each.name: signature_entry(each) for each in signatures},
            "warms_up": warms_up,
            "notes": (*source.notes, *_notes(runs), *failures),
        }
    )


def _warms_up(servable: Servable, signatures: Sequence[Signature]) -> bool:
    """Return whether every signature runs on its stored sample."""
    try:
        for each in signatures:
            if each.sample is not None:
                servable.run(each.name, sample_inputs(each, each.sample))
    # A failure at a later load then tells of the machine, not of the model.
    except InferenceError:
        return False

    return True


def _with_portable(
    source: Source,
    manifest: Manifest,
    runs: Sequence[SampleRun | SampleRejection],
    folder: Path,
    builders: Sequence[tuple[str, Callable[[], GraphForm]]],
) -> Manifest:
    """Return `manifest`, with the next form added if this one is native to the machine.

    Without a portable form another machine compiles the model again.
    """
    if not manifest.native or not builders:
        return manifest

    _, make = builders[0]
    artifact = Artifact(folder)

    try:
        both = add_portable(folder, manifest, source, make())
        artifact.write_manifest(both)
        _check_portable(artifact, runs, manifest)
    except Exception as exc:
        if is_system_error(exc):
            raise

        # TensorFlow's optimisers raise any exception.
        remove_portable(folder, manifest)
        return manifest

    return both


def _check_portable(
    artifact: Artifact, runs: Sequence[SampleRun | SampleRejection], manifest: Manifest
) -> None:
    """Raise `Mismatch` if the portable form differs in outputs or in batchability."""
    with Servable(replace(artifact, portable=True), time_limit=RUN_SECONDS) as servable:
        for run in runs:
            if isinstance(run, SampleRun):
                compare(servable, run)

            entry = signature_entry(prove_batchable(servable, run))

            if entry != manifest.signatures[run.signature.name]:
                raise Mismatch(f"signature '{run.signature.name}' takes other rows")


def _notes(runs: Sequence[SampleRun | SampleRejection]) -> list[str]:
    notes = []

    for run in runs:
        name = run.signature.name

        if isinstance(run, SampleRejection):
            notes.append(
                f"Signature '{name}' accepted no sample inputs ({run.reason}), so its "
                "outputs could not be compared with the source's; the graph is served "
                "as it was written."
            )
        elif not run.deterministic:
            notes.append(
                f"Signature '{name}' gives different outputs from call to call; the "
                "graph is served as it was written."
            )

    return notes
