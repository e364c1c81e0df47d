"""Outputs that never have a value, such as dead branches: found by running a graph."""

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
    """The first that all outputs together take, or that shows one to be dead.

    The likeliest few where there is none: an output alone may take one of those.
    """
    if len(signature.outputs) > 1:
        for each in samples:
            if _runs_dead(session, signature, each) is not None:
                return [each]

    return samples[:_FEW]


def _dead(session: Any, signature: Signature, samples: list[GeneratedSample]) -> bool:
    """Return whether TensorFlow says so; failing on made-up inputs proves nothing."""
    said = (_runs_dead(session, signature, each) for each in samples)
    return next((each for each in said if each is not None), False)


def _runs_dead(
    session: Any, signature: Signature, made: GeneratedSample
) -> bool | None:
    """Return whether an output has no value; `None` where the inputs are refused."""
    try:
        SessionReference(session)(signature, made.draw(made.rows, seed=0))
    except UnicodeError:
        # It is a `ValueError` too: TensorFlow's refusal quotes a made-up picture.
        return None
    except ValueError:
        return True
    except tf.errors.OpError as exc:
        return True if _NO_VALUE in str(exc) else None

    return False
