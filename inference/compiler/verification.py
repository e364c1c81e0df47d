"""Checks an artifact against its source, and proves which signatures take batches."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from inference.compiler.kernels import cannot_compute, cannot_run
from inference.compiler.precision import rounding
from inference.reasons import first_line
from inference.samples import Guess, guesses, sample
from inference.types import Sample

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference.runtime import Servable
    from inference.sources.source import Source
    from inference.types import Array, Shape, Signature

TOLERANCE = {2: 2e-2, 4: 1e-5, 8: 1e-8}
"""By bytes of a float: the largest difference, as a share of the largest output."""


class Mismatch(Exception):
    """The artifact doesn't give what the source gave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Samples that the source took for one signature, and what it answered.

    `steady` says that it answered the same when asked again. `rounding` has the bytes
    of the narrowest float that was computed with, where that isn't the output's own.
    """

    signature: Signature
    guess: Guess
    inputs: dict[str, Array]
    outputs: dict[str, Array]
    steady: bool
    rounding: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The source took no sample; `reason` is what it said of the first.

    If it `never_runs`, that is because of an operation that no input can change.
    """

    signature: Signature
    reason: str
    never_runs: bool = False


def attempt(source: Source, signature: Signature) -> Trial | Refusal:
    """Find samples that the source takes for `signature`, and its answers."""
    reason = "it has nothing to feed"
    rounded = rounding(source.graph_def, signature)
    missing: list[str | None] = []

    for number, guess in enumerate(guesses(signature, source.texts)):
        inputs = sample(signature, guess, rows=2, seed=0)

        try:
            outputs = source.reference(signature, inputs)
            again = source.reference(signature, inputs)
        except Exception as exc:
            # Any framework, any error; the next guess may fit.
            if blocked := cannot_run(exc):
                return Refusal(signature=signature, reason=blocked, never_runs=True)

            missing.append(cannot_compute(exc))
            reason = first_line(exc) if number == 0 else reason
            continue

        return Trial(
            signature=signature,
            guess=guess,
            inputs=inputs,
            outputs=outputs,
            steady=_agree(outputs, again, rounded),
            rounding=rounded,
        )

    if missing and missing[0] and all(missing):
        return Refusal(signature=signature, reason=missing[0], never_runs=True)

    return Refusal(signature=signature, reason=reason)


def compare(servable: Servable, trial: Trial) -> float | None:
    """The largest difference from the source's outputs. Raises `Mismatch`.

    `None` where the source's own outputs change from call to call.
    """
    answered = servable.run(trial.signature.name, trial.inputs)

    if not trial.steady:
        return None

    if not _agree(trial.outputs, answered, trial.rounding):
        name = trial.signature.name
        raise Mismatch(f"signature '{name}' differs by {_gap(trial.outputs, answered)}")

    return _gap(trial.outputs, answered)


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
        sample=None if isinstance(trial, Refusal) else _one_row(signature, trial.guess),
    )


def _one_row(signature: Signature, guess: Guess) -> Sample:
    row = sample(signature, guess, rows=1, seed=0)
    shapes = {name: value.shape for name, value in row.items()}
    return Sample(shapes=shapes, text=guess.strings[0])


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
    first = sample(signature, trial.guess, rows=1, seed=1)
    second = sample(signature, trial.guess, rows=2, seed=2)
    joined = {
        name: np.concatenate([first[name], second[name]])
        if spec.required
        else first[name]
        for name, spec in signature.inputs.items()
    }

    try:
        apart = [servable.run(signature.name, rows) for rows in (first, second)]
        together = servable.run(signature.name, joined)
        expected = {
            name: np.concatenate([part[name] for part in apart]) for name in together
        }
    except Exception as exc:
        # TensorFlow's or NumPy's; either way the rows can't be joined.
        return f"rows can't be run together: {first_line(exc)}"

    return _judge(expected, together, trial.rounding)


def _judge(
    expected: Mapping[str, Array],
    together: Mapping[str, Array],
    rounded: Mapping[str, int],
) -> str:
    if not _agree(expected, together, rounded):
        return "rows together gave other outputs than rows apart"

    if all(_rows_equal(value) for value in expected.values()):
        return "different rows gave equal outputs, which proves nothing"

    return ""


def _rows_equal(value: Array) -> bool:
    return all(_same(value[:1], value[row : row + 1]) for row in range(len(value)))


def _agree(
    wanted: Mapping[str, Array], got: Mapping[str, Array], rounded: Mapping[str, int]
) -> bool:
    return all(
        _close(value, got[name], rounded.get(name, 8)) for name, value in wanted.items()
    )


def _close(wanted: Array, got: Array, rounded: int) -> bool:
    if wanted.shape != got.shape or wanted.dtype != got.dtype:
        return False

    if not _floating(wanted):
        return _same(wanted, got)

    bound = TOLERANCE.get(min(_float_bytes(wanted), rounded), 1e-5)
    finite = _finite(wanted)
    scale = max(1.0, float(np.abs(finite).max(initial=0.0)))
    near = np.isclose(
        _wide(got), _wide(wanted), rtol=0, atol=bound * scale, equal_nan=True
    )
    return bool(near.all())


def _same(wanted: Array, got: Array) -> bool:
    if wanted.dtype == object or not _floating(wanted):
        return bool(np.array_equal(wanted, got))

    return bool(np.array_equal(_wide(wanted), _wide(got), equal_nan=True))


def _gap(wanted: Mapping[str, Array], got: Mapping[str, Array]) -> float:
    # Infinity less infinity is no number; those are left out below.
    with np.errstate(invalid="ignore"):
        gaps = [
            np.abs(_wide(wanted[name]) - _wide(got[name]))
            for name in wanted
            if _floating(wanted[name]) and wanted[name].shape == got[name].shape
        ]

    return max((float(_finite(gap).max(initial=0.0)) for gap in gaps), default=0.0)


def _floating(value: Array) -> bool:
    # ml_dtypes' floats (bfloat16 and smaller) are of NumPy's kind "V".
    return value.dtype.kind in "fcV"


def _float_bytes(value: Array) -> int:
    return int(value.dtype.itemsize) // (2 if value.dtype.kind == "c" else 1)


def _wide(value: Array) -> Array:
    return value.astype(np.complex128 if value.dtype.kind == "c" else np.float64)


def _finite(value: Array) -> Array:
    wide = _wide(value)
    return np.abs(wide[np.isfinite(wide)])
