"""Logs what of a repository is passed over: when it appears, and when it is mended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable

log = structlog.get_logger("tandem.engine")


class ProblemLog:
    """Says each problem once for as long as it lasts, and again if its reason changes.

    One that is new while others are served is said when two looks found it: a folder
    that is being copied holds no model for a moment.
    """

    def __init__(self) -> None:
        self._said: dict[str, set[str]] = {}
        self._last: set[str] = set()

    def take(self, problems: Iterable[str], *, at_once: bool) -> None:
        """Take in what one look found; `at_once` doesn't wait for a second."""
        found = dict.fromkeys(problems)
        places = {_place(problem) for problem in found}

        for place in self._said.keys() - places:
            log.info("entry passed over no more", entry=place)
            del self._said[place]

        for place, said in self._said.items():
            self._said[place] = said & found.keys()

        for problem in found:
            if at_once or problem in self._last:
                self._say(problem)

        self._last = set(found)

    def _say(self, problem: str) -> None:
        said = self._said.setdefault(_place(problem), set())

        if problem not in said:
            said.add(problem)
            log.warning("entry passed over", problem=problem)


def _place(problem: str) -> str:
    """Which entry it is of: `m/2` of `m/2: holds no model`."""
    return problem.partition(": ")[0]
