"""Comparison of an artifact with its source, and proof that signatures take batches."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from inference.compiler.verification.agreement import (
    max_difference,
    outputs_agree,
    rows_differ,
)
from inference.compiler.verification.extreme_rows import USUAL, filled_with
from inference.compiler.verification.sample_runs import SampleRejection, SampleRun
from inference.errors import DeadlineExceeded, InferenceError, first_line
from inference.runtime.servable import sample_inputs
from inference.types import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from inference.runtime.servable import Servable
    from inference.types import Array, Shape, Signature

    Answer = Callable[[Mapping[str, Array]], dict[str, Array]]

_MAX_PROOFS = 3
_MIXED = "a row changes the answers of those that it is run with"
_PROVES_NOTHING = "different rows gave equal outputs, which proves nothing"


class Mismatch(Exception):
    """The artifact's outputs differ from the source's."""


def compare(servable: Servable, run: SampleRun) -> float | None:
    """Return the largest difference from the source's outputs. Raise `Mismatch`.

    `None` if the source's own outputs change from call to call.
    """
    pairs = [(run.inputs, run.outputs)]

    if run.masked_inputs:
        pairs.append((run.masked_inputs, run.masked_outputs))

    found = [_difference(servable, run, *pair) for pair in pairs]
    return max((each for each in found if each is not None), default=None)


def _difference(
    servable: Servable,
    run: SampleRun,
    inputs: Mapping[str, Array],
    outputs: Mapping[str, Array],
) -> float | None:
    name = run.signature.name
    answered = servable.run(name, inputs, tuple(outputs))

    if not run.deterministic:
        return None

    difference = max_difference(outputs, answered)

    if not outputs_agree(outputs, answered, run.rounding):
        raise Mismatch(f"signature '{name}' differs by {difference}")

    return difference


def prove_batchable(servable: Servable, run: SampleRun | SampleRejection) -> Signature:
    """Return the signature, marked as batchable or with the reason why it isn't.

    Rows may be joined if every tensor has an open leading dimension and running rows
    together gives the outputs of running them apart, for rows that differ. Where that
    holds for the usual outputs only, the others are answered `alone`.
    """
    signature = servable.signatures[run.signature.name]
    others = tuple(name for name in signature.outputs if name not in signature.usual)
    reason = _why_not(servable, signature, run, signature.usual)
    alone = not reason and others and _why_not(servable, signature, run, others)

    changes = isinstance(run, SampleRun) and not run.deterministic

    return replace(
        signature,
        repeatable=signature.repeatable and not changes,
        batchable=not reason,
        alone=others if alone else (),
        batchable_reason=reason
        or "rows run together gave the outputs of rows run apart, to rounding",
        sample=None if isinstance(run, SampleRejection) else _sample_row(servable, run),
    )


def _why_not(
    servable: Servable,
    signature: Signature,
    run: SampleRun | SampleRejection,
    outputs: tuple[str, ...],
) -> str:
    """Return why rows of these outputs can't be joined, `""` if they can."""
    reason = _why_unbatchable(signature, outputs)

    if reason:
        return reason

    if isinstance(run, SampleRejection):
        return "the model accepted no sample inputs, so it could not be tried"

    if not run.deterministic:
        return "the outputs change from call to call"

    return _why_not_joinable(servable, signature, run, outputs)


def _sample_row(servable: Servable, run: SampleRun) -> Sample:
    """Return the shapes of one row, and its first values if zeros are rejected."""
    signature = run.signature
    row = run.candidate.draw(1, seed=0)
    sample = Sample(
        shapes={name: value.shape for name, value in row.items()},
        texts={
            name: value.flat[0]
            for name, value in row.items()
            if value.dtype == object and value.size
        },
    )

    try:
        servable.run(signature.name, sample_inputs(signature, sample))
    except InferenceError:
        return replace(sample, fills=_first_numbers(row))

    return sample


def _first_numbers(row: Mapping[str, Array]) -> dict[str, float]:
    return {
        name: float(value.flat[0])
        for name, value in row.items()
        if value.dtype.kind in "iubf" and value.size
    }


def _why_unbatchable(signature: Signature, outputs: tuple[str, ...]) -> str:
    required = [spec for spec in signature.inputs.values() if spec.required]

    if not required:
        return "it has no required input"

    for spec in (*required, *(signature.outputs[name] for name in outputs)):
        if spec.part is not None:
            return f"'{spec.part.of}' is {spec.part.kind}"

        if not _leads_unknown(spec.shape):
            return f"'{spec.name}' has no leading dimension of open size"

    return ""


def _leads_unknown(shape: Shape) -> bool:
    return shape is not None and len(shape) > 0 and shape[0] is None


def _why_not_joinable(
    servable: Servable, signature: Signature, run: SampleRun, outputs: tuple[str, ...]
) -> str:
    """Return why rows can't be joined, `""` if they can.

    Draws other rows while all rows have the same outputs.
    """
    reason = ""

    answer = partial(servable.run, signature.name, outputs=outputs)

    for number in range(_MAX_PROOFS):
        draws = [run.candidate.draw(rows, seed=2 * number + rows) for rows in (1, 2)]
        reason = _compare_joined(answer, signature, draws, run.rounding)

        if reason != _PROVES_NOTHING:
            break

    if reason:
        return reason

    try:
        return _why_mixed_beyond(answer, signature, run) or _why_mixed_by_extremes(
            answer, signature, run
        )
    except Exception as exc:
        # Another row may be refused; that is no reason not to serve the model.
        return f"rows can't be run together: {first_line(exc)}"


def _why_mixed_beyond(answer: Answer, signature: Signature, run: SampleRun) -> str:
    """Return why a row of infinities or NaN changes other rows' answers, or `""`."""
    rows = [run.candidate.draw(1, seed=seed) for seed in (0, 1)]
    apart = [answer(row) for row in rows]

    for value in run.beyond:
        extreme = filled_with(value, signature, rows[0])

        try:
            # On both sides: a running sum reaches one of them only.
            joined = [extreme, *rows, extreme]
            together = answer(_joined(signature, joined))
        except DeadlineExceeded:
            return "a row of unusual values keeps those that it is run with waiting"
        except InferenceError:
            # It takes no such value, be it joined or alone.
            continue

        between = {
            name: together[name][len(together[name]) // 4 : -len(together[name]) // 4]
            for name in together
        }
        expected = {
            name: np.concatenate([each[name] for each in apart]) for name in together
        }

        if not outputs_agree(expected, between, run.rounding):
            return _MIXED

    return ""


def _why_mixed_by_extremes(answer: Answer, signature: Signature, run: SampleRun) -> str:
    """Return why a row of unusual values changes other rows' answers, or `""`."""
    if not run.extremes:
        return ""

    row = run.candidate.draw(1, seed=0)
    rows, apart = [row], [answer(row)]
    count = 1

    for value in run.extremes:
        extreme = filled_with(value, signature, row)

        with suppress(InferenceError):
            apart.append(answer(extreme))
            rows.append(extreme)
            count += value in USUAL

    try:
        together = answer(_joined(signature, rows))
    except InferenceError as exc:
        return f"rows can't be run together: {first_line(exc)}"

    # What large values give is rounded too much to be compared; they come last.
    expected = {
        name: np.concatenate([each[name] for each in apart[:count]])
        for name in together
    }
    given = {name: together[name][: len(value)] for name, value in expected.items()}
    return "" if outputs_agree(expected, given, run.rounding) else _MIXED


def _compare_joined(
    answer: Answer,
    signature: Signature,
    draws: Sequence[Mapping[str, Array]],
    rounded: Mapping[str, int],
) -> str:
    try:
        apart = [answer(rows) for rows in draws]
        together = answer(_joined(signature, draws))
        expected = {
            name: np.concatenate([part[name] for part in apart]) for name in together
        }
    except Exception as exc:
        # TensorFlow's or NumPy's error; either way the rows can't be joined.
        return f"rows can't be run together: {first_line(exc)}"

    return _compare_outputs(expected, together, rounded)


def _joined(
    signature: Signature, draws: Sequence[Mapping[str, Array]]
) -> dict[str, Array]:
    return {
        name: np.concatenate([each[name] for each in draws])
        if spec.required
        else draws[0][name]
        for name, spec in signature.inputs.items()
    }


def _compare_outputs(
    expected: Mapping[str, Array],
    together: Mapping[str, Array],
    rounded: Mapping[str, int],
) -> str:
    if not outputs_agree(expected, together, rounded):
        return "rows run together gave other outputs than rows run apart"

    return "" if rows_differ(expected) else _PROVES_NOTHING
