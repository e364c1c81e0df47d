"""Entries passed over are reported once, and again when the reason changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from inference.repository.problem_log import ProblemLog

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

A, B, OTHER = "m/1: holds no model.", "m/1: can't be read.", "n.onnx: no format."

# The problems that looks find one after another → what each look says.
LOOKS = {
    "once for all looks": ([[A], [A], [A]], [[A], [], []]),
    "a new one at the second look": ([[], [A], [A], [A]], [[], [], [A], []]),
    "not what was there for a moment": ([[], [A], [], [A], []], [[]] * 5),
    "anew when its reason changes": ([[A], [B], [B], [B]], [[A], [], [B], []]),
    "anew when it comes back": ([[A], [B], [B], [A], [A]], [[A], [], [B], [], [A]]),
    "that it is mended": ([[A], [], []], [[A], ["-m/1"], []]),
    "anew after it was mended": ([[A], [], [A], [A]], [[A], ["-m/1"], [], [A]]),
    "that it is mended after its reason changed": (
        [[A], [B], []],
        [[A], [], ["-m/1"]],
    ),
    "each for itself": (
        [[A], [A, OTHER], [OTHER], [OTHER]],
        [[A], [], ["-m/1", OTHER], []],
    ),
    "both of one entry": ([[A, B], [B], [A, B], []], [[A, B], [], [], ["-m/1"]]),
    "the same twice": ([[A, A]], [[A]]),
}


def said(lines: Iterable[Mapping[str, Any]]) -> list[str]:
    words = {"entry passed over": "", "entry no longer passed over": "-"}
    return [
        words[line["event"]] + (line.get("problem") or line["entry"]) for line in lines
    ]


@pytest.mark.parametrize(("looks", "told"), LOOKS.values(), ids=LOOKS)
def test_problems_are_logged_once_and_when_mended(
    looks: list[list[str]], told: list[list[str]]
) -> None:
    problems = ProblemLog()
    heard = []

    for number, look in enumerate(looks):
        with capture_logs() as lines:
            problems.update(look, at_once=number == 0)

        heard.append(said(lines))

    assert heard == told


def test_rescan_logs_at_once() -> None:
    problems = ProblemLog()
    problems.update([], at_once=True)

    with capture_logs() as lines:
        problems.update([A], at_once=True)
        problems.update([A], at_once=True)

    assert said(lines) == [A]
