"""The outputs that requests ask for by name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inference.errors import UnknownSignature
from inference.inputs.selection import select_outputs
from inference.types import Part, Signature
from tests.support.specs import signature, spec


def part(name: str, role: str) -> Part:
    return Part(of=name, kind="ragged", role=role)


def outputs() -> Signature:
    """Return a signature of a usual output, one on request and a ragged one."""
    made = [
        spec("probs"),
        replace(spec("pool"), on_request=True),
        replace(spec("words/values"), part=part("words", "values")),
        replace(spec("words/splits"), part=part("words", "row_splits")),
    ]
    return replace(signature(spec("x")), outputs={each.name: each for each in made})


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        pytest.param(None, ("probs", "words/values", "words/splits"), id="the usual"),
        pytest.param(("pool",), ("pool",), id="one on request"),
        pytest.param(("pool", "probs", "pool"), ("probs", "pool"), id="one order"),
        pytest.param(("words",), ("words/values", "words/splits"), id="a ragged one"),
        pytest.param(
            ("words/splits",), ("words/values", "words/splits"), id="by its part"
        ),
    ],
)
def test_outputs_by_name(asked: tuple[str, ...] | None, given: tuple[str, ...]) -> None:
    assert select_outputs(outputs(), asked) == given


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownSignature, match="no output 'pol'; the nearest are: poo"):
        select_outputs(outputs(), ("probs", "pol"))


def test_a_name_like_none_is_refused_with_all() -> None:
    with pytest.raises(UnknownSignature, match="it has: probs, pool, words/values"):
        select_outputs(outputs(), ("zzzzzzzz",))
