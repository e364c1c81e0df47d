"""Checks an artifact against its source, and proves which signatures take batches."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from inference.compiler.verification.agreement import agree, gap, rows_differ
from inference.compiler.verification.sample_runs import Refusal, Trial
from inference.errors import InferenceError, first_line
from inference.runtime.servable import sample_inputs
from inference.types import Sample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inference.runtime.servable import Servable
    from inference.types import Array, Shape, Signature

_MOST_PROOFS = 3
_PROVES_NOTHING = "different rows gave equal outputs, which proves nothing"


class Mismatch(Exception):
    """The artifact doesn't give what the source gave."""


def compare(servable: Servable, trial: Trial) -> float | None:
    """The largest difference from the source's outputs. Raises `Mismatch`.

    `None` where the source's own outputs change from call to call.
    """
    answered = servable.run(trial.signature.name, trial.inputs)

    if not trial.steady:
        return None

    if not agree(trial.outputs, answered, trial.rounding):
        name = trial.signature.name
        raise Mismatch(f"signature '{name}' differs by {gap(trial.outputs, answered)}")

    return gap(trial.outputs, answered)


def prove_batchable(servable: Servable, trial: Trial | Refusal) -> Signature:
    """The signature, marked as batchable or with the reason why it isn't.

    Rows may be joined where every tensor leads with an unknown dimension and running
    rows together gave what running them apart gave, on rows that differ.
    """
    signature = servable.signatures[trial.signature.name]
    reason = _unfit(signature)

    if not reason and isinstance(trial, Refusal):
        reason = "the model took no sample inputs, so it could not be tried"
    elif not reason and isinstance(trial, Trial) and not trial.steady:
        reason = "the answers change from call to call"

    if not reason and isinstance(trial, Trial):
        reason = _joined_differs(servable, signature, trial)

    return replace(
        signature,
        batchable=not reason,
        batchable_reason=reason
        or "rows together gave what rows apart gave, to rounding",
        sample=None if isinstance(trial, Refusal) else _one_row(servable, trial),
    )


def _one_row(servable: Servable, trial: Trial) -> Sample:
    """The shapes of one row; its first values too, where zeros are refused."""
    signature = trial.signature
    row = trial.candidate.draw(1, seed=0)
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


def _unfit(signature: Signature) -> str:
    required = [spec for spec in signature.inputs.values() if spec.required]

    if not required:
        return "it has no required input"

    for spec in (*required, *signature.outputs.values()):
        if spec.part is not None:
            return f"'{spec.part.of}' is {spec.part.kind}"

        if not _leads_unknown(spec.shape):
            return f"'{spec.name}' has no leading dimension of open size"

    return ""


def _leads_unknown(shape: Shape) -> bool:
    return shape is not None and len(shape) > 0 and shape[0] is None


def _joined_differs(servable: Servable, signature: Signature, trial: Trial) -> str:
    """Why rows can't be joined; tries others where their answers are the same."""
    said = ""

    for number in range(_MOST_PROOFS):
        draws = [trial.candidate.draw(rows, seed=2 * number + rows) for rows in (1, 2)]
        said = _prove(servable, signature, draws, trial.rounding)

        if said != _PROVES_NOTHING:
            break

    return said


def _prove(
    servable: Servable,
    signature: Signature,
    draws: Sequence[Mapping[str, Array]],
    rounded: Mapping[str, int],
) -> str:
    joined = {
        name: np.concatenate([each[name] for each in draws])
        if spec.required
        else draws[0][name]
        for name, spec in signature.inputs.items()
    }

    try:
        apart = [servable.run(signature.name, rows) for rows in draws]
        together = servable.run(signature.name, joined)
        expected = {
            name: np.concatenate([part[name] for part in apart]) for name in together
        }
    except Exception as exc:
        # TensorFlow's or NumPy's; either way the rows can't be joined.
        return f"rows can't be run together: {first_line(exc)}"

    return _judge(expected, together, rounded)


def _judge(
    expected: Mapping[str, Array],
    together: Mapping[str, Array],
    rounded: Mapping[str, int],
) -> str:
    if not agree(expected, together, rounded):
        return "rows together gave other outputs than rows apart"

    return "" if rows_differ(expected) else _PROVES_NOTHING
