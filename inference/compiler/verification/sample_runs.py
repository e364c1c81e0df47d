"""Sample inputs that a source accepts, and the outputs it gives for them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from inference.compiler.verification.agreement import (
    is_empty,
    outputs_agree,
    rows_differ,
)
from inference.compiler.verification.extreme_rows import extreme_values, values_beyond
from inference.compiler.verification.precision import rounding
from inference.compiler.verification.unsupported import (
    missing_kernel_reason,
    unimplemented_reason,
    unregistered_reason,
)
from inference.errors import InvalidSidecar, first_line
from inference.formats.graph.value_hints import hints_of
from inference.inputs.samples import candidates
from inference.inputs.seeds import switched_on

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inference.formats.graph.source import Source
    from inference.inputs.given_samples import GivenSample
    from inference.inputs.samples import Candidate
    from inference.types import Array, Signature

MAX_SECONDS = 60
"""Time for all candidates of one signature together, except the first."""

_MAX_TAKEN = 4
_MAX_BLOCKED = 4
_MIXING = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRun:
    """Samples that the source accepted for one signature, and its outputs.

    `deterministic` says that a second call gave the same outputs. `rounding` has the
    bytes of the narrowest float used on the way to an output, by output. `extremes` are
    values that may decide what the graph does. `beyond`
    are values over any bound. `masked_inputs` and `masked_outputs` are
    the same with dropout on, if the signature has that.
    """

    signature: Signature
    candidate: Candidate
    inputs: dict[str, Array]
    outputs: dict[str, Array]
    deterministic: bool
    rounding: Mapping[str, int] = field(default_factory=dict)
    extremes: tuple[float, ...] = ()
    beyond: tuple[float, ...] = ()
    masked_inputs: dict[str, Array] = field(default_factory=dict)
    masked_outputs: dict[str, Array] = field(default_factory=dict)

    @property
    def is_conclusive(self) -> bool:
        """Return whether rows have different outputs, and the same ones again."""
        return self.deterministic and rows_differ(self.outputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRejection:
    """The source accepted no sample; `reason` is its error for the first.

    `never_runs` if an operation fails for every input.
    """

    signature: Signature
    reason: str
    never_runs: bool = False


def run_samples(
    source: Source, signature: Signature, given: Sequence[GivenSample] = ()
) -> SampleRun | SampleRejection:
    """Find samples that the source accepts for `signature`, and its outputs.

    The samples `given` are tried first. Of the accepted ones, the first counts whose
    rows have different outputs, else the first of all. Raise `InvalidSidecar` if it
    rejects the sidecar's sample.
    """
    search = SampleSearch(source, signature)
    hints = hints_of(source.graph_def, signature)

    for each in given:
        found = search.try_given(each)

        if found is not None:
            return found

    for candidate in candidates(signature, source.texts, hints):
        found = search.try_candidate(candidate)

        if found is not None and found.is_conclusive:
            return found

        if search.is_exhausted:
            break

    return search.best()


class SampleSearch:
    """The samples tried on one signature so far."""

    def __init__(self, source: Source, signature: Signature) -> None:
        self._source = source
        self._signature = signature
        self._rounding = rounding(source.graph_def, signature)
        self._extremes = extreme_values(source.graph_def)
        self._beyond = values_beyond(source.graph_def)
        self._ends = time.monotonic() + MAX_SECONDS
        self._taken: list[SampleRun] = []
        self._reasons: list[str] = []
        self._missing: list[str | None] = []
        self._blocked: list[str] = []

    @property
    def is_exhausted(self) -> bool:
        """Return whether enough samples were tried."""
        answered = [each for each in self._taken if not is_empty(each.outputs)]
        return (
            time.monotonic() > self._ends
            or len(answered) == _MAX_TAKEN
            or len(self._blocked) == _MAX_BLOCKED
        )

    def try_given(self, given: GivenSample) -> SampleRun | SampleRejection | None:
        """Return the source's outputs, if different rows have different ones."""
        found = self.try_candidate(given)

        if found is None and given.binding and self._blocked:
            return self._never(self._blocked[-1])

        if found is None and given.binding:
            raise InvalidSidecar(
                f"the model rejects the sample '{given.place}' for the signature "
                f"'{self._signature.name}': {self._reasons[-1]}"
            )

        if found is None or found.is_conclusive:
            return found

        inputs = given.draw(max(2, given.rows), seed=_MIXING)
        mixed = self._answered(given, inputs)
        return found if mixed is not None and mixed.is_conclusive else None

    def try_candidate(self, candidate: Candidate) -> SampleRun | None:
        """Return the source's outputs; `None` if it rejects the sample."""
        # Other values may take a branch that this machine can run.
        inputs = candidate.draw(candidate.rows, seed=len(self._blocked))
        found = self._answered(candidate, inputs)

        if found is not None:
            self._taken.append(found)

        return found

    def _answered(
        self, candidate: Candidate, inputs: dict[str, Array]
    ) -> SampleRun | None:
        masked_inputs = switched_on(self._signature, inputs)

        try:
            outputs = self._source.reference(self._signature, inputs)
            # A second run tells whether the outputs are deterministic.
            again = self._source.reference(self._signature, inputs)
            masked_outputs = (
                self._source.reference(self._signature, masked_inputs)
                if masked_inputs
                else {}
            )
        except Exception as exc:
            # Frameworks raise any exception; the next candidate may be accepted.
            self._refused(exc)
            return None

        return SampleRun(
            signature=self._signature,
            candidate=candidate,
            inputs=inputs,
            outputs=outputs,
            deterministic=outputs_agree(outputs, again, self._rounding),
            rounding=self._rounding,
            extremes=self._extremes,
            beyond=self._beyond,
            masked_inputs=masked_inputs,
            masked_outputs=masked_outputs,
        )

    def best(self) -> SampleRun | SampleRejection:
        """Return the best accepted sample, or the error for the first rejected one."""
        if self._taken:
            # `max` returns the first of equals, which is the likeliest.
            return max(
                self._taken,
                key=lambda each: (each.deterministic, not is_empty(each.outputs)),
            )

        if blocked := self._why_never():
            return self._never(blocked)

        reason = self._reasons[0] if self._reasons else "it has nothing to feed"
        return SampleRejection(signature=self._signature, reason=reason)

    def _why_never(self) -> str | None:
        """Return why no input can run here, by errors of runs or by the registry."""
        if self._blocked:
            return self._blocked[0]

        if self._missing and self._missing[0] and all(self._missing):
            return self._missing[0]

        return unregistered_reason(self._source.graph_def, self._signature)

    def _refused(self, exc: Exception) -> None:
        if blocked := missing_kernel_reason(exc):
            self._blocked.append(blocked)

        self._missing.append(unimplemented_reason(exc))
        self._reasons.append(first_line(exc))

    def _never(self, reason: str) -> SampleRejection:
        return SampleRejection(
            signature=self._signature, reason=reason, never_runs=True
        )
