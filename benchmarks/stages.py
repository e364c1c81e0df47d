"""What a reload is at, seen from outside: by the server's status and its cache."""

from __future__ import annotations

import json
import time
import urllib.request
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

POLL_SECONDS = 0.05
PATIENCE_SECONDS = 120.0
NOTICE, COMPILE, LOAD, UNLOAD = "notice", "compile", "load", "unload"
NAMES = (NOTICE, COMPILE, LOAD, UNLOAD)
"""In their order: until the files were quiet, in the compiler's child, mapped and
warmed up, and until the version before is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """From `begin` to `end` by `time.perf_counter`, as exact as the polling is."""

    name: str
    begin: float
    end: float


class Lookout:
    """Watches one model of a server on `port` that keeps its artifacts in `cache`."""

    def __init__(self, port: int, model: str, cache: Path) -> None:
        self._url = f"http://127.0.0.1:{port}/v1/models"
        self._model = model
        self._cache = cache

    def watch(self, version: int, put: Callable[[], None]) -> list[Stage]:
        """The stages from `put`, which makes the version appear in the repository, to
        its being alone. Raises `TimeoutError`."""
        artifacts = self._artifacts()
        marks = [time.perf_counter()]
        put()
        conditions = (
            lambda: self._stage(version) is not None,
            lambda: self._artifacts() > artifacts,
            lambda: self._state(version) == "AVAILABLE",
            lambda: self._versions().keys() == {version},
        )
        marks += [self._when(condition) for condition in conditions]
        return [
            Stage(name=name, begin=begin, end=end)
            for name, (begin, end) in zip(NAMES, pairwise(marks), strict=True)
        ]

    def _when(self, condition: Callable[[], bool]) -> float:
        end = time.monotonic() + PATIENCE_SECONDS

        while time.monotonic() < end:
            if condition():
                return time.perf_counter()

            time.sleep(POLL_SECONDS)

        raise TimeoutError(f"{self._model} has come no further: {self._versions()}")

    def _artifacts(self) -> int:
        return sum(1 for _ in self._cache.glob("[!.]*/manifest.json"))

    def _stage(self, version: int) -> str | None:
        found = self._versions().get(version)
        return found["state"] if found else None

    def _state(self, version: int) -> str:
        return str(self._versions().get(version, {}).get("state"))

    def _versions(self) -> dict[int, Any]:
        with urllib.request.urlopen(self._url) as response:
            document = json.load(response)

        return {
            int(each["version"]): each
            for model in document["models"]
            if model["name"] == self._model
            for each in model["versions"]
        }
