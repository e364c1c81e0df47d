"""Log of entries that are passed over: once when they appear, and when repaired."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable

log = structlog.get_logger("tandem.engine")


class ProblemLog:
    """Log of problems: each once while it lasts, and again if its reason changes."""

    def __init__(self) -> None:
        self._logged: dict[str, set[str]] = {}
        self._last: set[str] = set()

    def update(self, problems: Iterable[str], *, at_once: bool) -> None:
        """Log the new and the repaired problems of one scan.

        A new problem waits for a second scan, unless `at_once`.
        """
        found = dict.fromkeys(problems)
        entries = {_entry(problem) for problem in found}

        for entry in self._logged.keys() - entries:
            log.info("entry no longer passed over", entry=entry)
            del self._logged[entry]

        for entry, logged in self._logged.items():
            self._logged[entry] = logged & found.keys()

        for problem in found:
            # A folder that is being copied holds no model for a moment.
            if at_once or problem in self._last:
                self._log(problem)

        self._last = set(found)

    def _log(self, problem: str) -> None:
        logged = self._logged.setdefault(_entry(problem), set())

        if problem not in logged:
            logged.add(problem)
            log.warning("entry passed over", problem=problem)


def _entry(problem: str) -> str:
    """Return the entry's place: `m/2` of `m/2: holds no model`."""
    return problem.partition(": ")[0]
