"""Entries passed over are reported once, and again when the reason changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from inference.repository.problem_log import ProblemLog

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

A, B, OTHER = "m/1: holds no model.", "m/1: can't be read.", "n.onnx: no format."

# The problems of consecutive scans → the log of each scan.
SCANS = {
    "once for all scans": ([[A], [A], [A]], [[A], [], []]),
    "a new one at the second scan": ([[], [A], [A], [A]], [[], [], [A], []]),
    "not a momentary one": ([[], [A], [], [A], []], [[]] * 5),
    "again when its reason changes": ([[A], [B], [B], [B]], [[A], [], [B], []]),
    "again when it comes back": ([[A], [B], [B], [A], [A]], [[A], [], [B], [], [A]]),
    "repaired": ([[A], [], []], [[A], ["-m/1"], []]),
    "again after it was repaired": ([[A], [], [A], [A]], [[A], ["-m/1"], [], [A]]),
    "repaired after its reason changed": (
        [[A], [B], []],
        [[A], [], ["-m/1"]],
    ),
    "each separately": (
        [[A], [A, OTHER], [OTHER], [OTHER]],
        [[A], [], ["-m/1", OTHER], []],
    ),
    "both of one entry": ([[A, B], [B], [A, B], []], [[A, B], [], [], ["-m/1"]]),
    "the same twice": ([[A, A]], [[A]]),
}


def logged(lines: Iterable[Mapping[str, Any]]) -> list[str]:
    words = {"entry passed over": "", "entry no longer passed over": "-"}
    return [
        words[line["event"]] + (line.get("problem") or line["entry"]) for line in lines
    ]


@pytest.mark.parametrize(("scans", "expected"), SCANS.values(), ids=SCANS)
def test_problems_are_logged_once_and_when_repaired(
    scans: list[list[str]], expected: list[list[str]]
) -> None:
    problems = ProblemLog()
    actual = []

    for number, scan in enumerate(scans):
        with capture_logs() as lines:
            problems.update(scan, at_once=number == 0)

        actual.append(logged(lines))

    assert actual == expected


def test_rescan_logs_at_once() -> None:
    problems = ProblemLog()
    problems.update([], at_once=True)

    with capture_logs() as lines:
        problems.update([A], at_once=True)
        problems.update([A], at_once=True)

    assert logged(lines) == [A]
