"""Source → artifact: try each form of the graph, keep the first that proves right."""

from __future__ import annotations

import time
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING

from inference.artifacts.artifact import Artifact, Manifest, signature_entry
from inference.artifacts.cache import SHAPING_PACKAGES
from inference.compiler.assembly import add_portable, assemble, remove_portable
from inference.compiler.rewriting.forms import recipes
from inference.compiler.state.stateless import fresh_calls
from inference.compiler.verification.equality import Mismatch, compare, prove_batchable
from inference.compiler.verification.sample_runs import Refusal, Trial, attempt
from inference.errors import InferenceError, InvalidModel, first_line
from inference.formats.naming import check_names
from inference.formats.opening import open_source
from inference.inputs.given_samples import from_requests, from_sample
from inference.inputs.recorded_requests import read_first
from inference.inputs.sample_file import read_sample, sample_path
from inference.permissions import Permissions
from inference.repository.sidecar import blaming_sidecar, read_sidecar
from inference.runtime.footprint import OVERHEAD, expected_bytes, resident_bytes
from inference.runtime.servable import Servable, sample_inputs, trim_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from inference.compiler.rewriting.forms import Form
    from inference.formats.graph.source import Source
    from inference.inputs.given_samples import Given
    from inference.repository.sidecar import Sidecar
    from inference.types import Signature


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

    It is tried on the sample that the sidecar names, on requests recorded in `warmup`,
    and on made-up inputs. `report` hears what is being done. Raises `InvalidModel`,
    `InvalidSidecar`. The caller fills in what the manifest says of the source file.
    """
    started = time.monotonic()
    report("reading")

    config = read_sidecar(sidecar)

    allowed = permissions or Permissions()
    opened = open_source(path, config, allowed)

    with (
        blaming_sidecar(sidecar),
        opened as source,
        fresh_calls(source, carried=config.carry_state),
    ):
        check_names(source.signatures)
        report("running the source")
        given = _given(source, _sample_of(sidecar, config, allowed), warmup)
        trials = _running(source, given)
        manifest = _first_right(source, trials, folder, report)

    return manifest.model_copy(
        update={
            "compiled_with": {name: version(name) for name in SHAPING_PACKAGES},
            "compile_seconds": round(time.monotonic() - started, 3),
        }
    )


def _sample_of(
    sidecar: Path | None, config: Sidecar, permissions: Permissions
) -> Path | None:
    if sidecar is None or config.sample is None:
        return None

    return sample_path(sidecar, config.sample, permissions.follow_links_to)


def _given(
    source: Source, sample: Path | None, warmup: Path | None
) -> dict[str, list[Given]]:
    """Real inputs by signature, the sidecar's first. Raises `InvalidSidecar`."""
    signatures = source.signatures
    recorded = from_requests(read_first(warmup), signatures, source.default_signature)
    sampled = {}

    if sample is not None:
        sampled = from_sample(read_sample(sample), signatures, sample.name)

    return {
        name: [each[name] for each in (sampled, recorded) if name in each]
        for name in signatures
    }


def _running(
    source: Source, given: Mapping[str, Sequence[Given]]
) -> list[Trial | Refusal]:
    """Try each signature, and leave out those that this machine can't ever run."""
    trials = [
        attempt(source, each, given[name]) for name, each in source.signatures.items()
    ]
    never = {
        each.signature.name: each.reason
        for each in trials
        if isinstance(each, Refusal) and each.never_runs
    }

    if len(never) == len(trials):
        raise InvalidModel("; ".join(dict.fromkeys(never.values())))

    source.leave_out(never)
    return [each for each in trials if each.signature.name not in never]


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

    for number, (level, make) in enumerate(ways, start=1):
        report(f"optimising ({level})")

        try:
            manifest = _checked(source, make(), trials, folder, failures)
            return _with_portable(source, manifest, trials, folder, ways[number:])
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
        warms_up = _warms_up(servable, signatures)

    return manifest.model_copy(
        update={
            "memory_bytes": max(memory_bytes, expected_bytes(manifest)) + OVERHEAD,
            "largest_difference": max(
                (gap for gap in gaps if gap is not None), default=None
            ),
            "signatures": {each.name: signature_entry(each) for each in signatures},
            "warms_up": warms_up,
            "notes": (*source.notes, *_notes(trials), *failures),
        }
    )


def _warms_up(servable: Servable, signatures: Sequence[Signature]) -> bool:
    """Tell if all samples run: where one doesn't later, it is for the machine."""
    try:
        for each in signatures:
            if each.sample is not None:
                servable.run(each.name, sample_inputs(each, each.sample))
    except InferenceError:
        return False

    return True


def _with_portable(
    source: Source,
    manifest: Manifest,
    trials: Sequence[Trial | Refusal],
    folder: Path,
    ways: Sequence[tuple[str, Callable[[], Form]]],
) -> Manifest:
    """`manifest`, with the next form too if this one may not run on other machines.

    Without one it is compiled anew there.
    """
    if not manifest.native or not ways:
        return manifest

    _, make = ways[0]
    artifact = Artifact(folder)

    try:
        both = add_portable(folder, manifest, source, make())
        artifact.manifest.write_text(both.model_dump_json())
        _check_portable(artifact, trials, manifest)
    except Exception:
        # TensorFlow's optimisers raise anything.
        remove_portable(folder, manifest)
        return manifest

    return both


def _check_portable(
    artifact: Artifact, trials: Sequence[Trial | Refusal], manifest: Manifest
) -> None:
    """Raises `Mismatch` where it differs, if only in what can be joined."""
    with Servable(replace(artifact, portable=True)) as servable:
        for trial in trials:
            if isinstance(trial, Trial):
                compare(servable, trial)

            entry = signature_entry(prove_batchable(servable, trial))

            if entry != manifest.signatures[trial.signature.name]:
                raise Mismatch(f"signature '{trial.signature.name}' takes other rows")


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
