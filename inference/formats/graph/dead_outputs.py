"""Outputs that never have a value, as in dead branches, found by running the graph."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inference.backend import tf
from inference.formats.graph.session import SessionReference

if TYPE_CHECKING:
    from inference.inputs.samples import GeneratedSample
    from inference.types import Signature

_NO_VALUE = "does not have value"
_FEW = 16


def drop_dead(
    session: Any, signature: Signature, samples: list[GeneratedSample], notes: list[str]
) -> Signature:
    """Leave out the outputs that have no value, and note which.

    Runs the graph on `samples`, the likeliest first.
    """
    tried = _conclusive_samples(session, signature, samples)
    kept = {
        name: spec
        for name, spec in signature.outputs.items()
        if not _dead(session, replace(signature, outputs={name: spec}), tried)
    }

    if not kept or len(kept) == len(signature.outputs):
        return signature

    dropped = ", ".join(sorted(signature.outputs.keys() - kept.keys()))
    notes.append(f"Outputs that can't be fetched are left out: {dropped}.")
    return replace(signature, outputs=kept)


def _conclusive_samples(
    session: Any, signature: Signature, samples: list[GeneratedSample]
) -> list[GeneratedSample]:
    """Return the first sample that runs all outputs, or shows one to be dead.

    If there is none, the likeliest few: a single output may run on one of those.
    """
    if len(signature.outputs) > 1:
        for each in samples:
            if _runs_dead(session, signature, each) is not None:
                return [each]

    return samples[:_FEW]


def _dead(session: Any, signature: Signature, samples: list[GeneratedSample]) -> bool:
    """Return whether TensorFlow reports an output as dead."""
    # A failure on generated inputs proves nothing.
    outcomes = (_runs_dead(session, signature, each) for each in samples)
    return next((each for each in outcomes if each is not None), False)


def _runs_dead(
    session: Any, signature: Signature, made: GeneratedSample
) -> bool | None:
    """Return whether an output has no value; `None` if the inputs are rejected."""
    try:
        SessionReference(session)(signature, made.draw(made.rows, seed=0))
    except UnicodeError:
        # It is a `ValueError` too: TensorFlow's error quotes a generated image.
        return None
    except ValueError:
        return True
    except tf.errors.OpError as exc:
        return True if _NO_VALUE in str(exc) else None

    return False
