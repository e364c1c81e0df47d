"""Loads, asks and unloads one model over and over; to be called in a child process."""

from __future__ import annotations

import logging
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import numpy as np
import structlog

from benchmarks import wide
from inference import Engine, EngineConfig, ModelSpec, PredictRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    Leak = Callable[[list[Any]], Iterator[None]]

_FIELD = re.compile(r"^(Threads|VmRSS):\s+(\d+)", re.MULTILINE)
LEAKED_BYTES = 100 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The process after an unload: resident KiB, threads, open files."""

    resident: int
    threads: int
    files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`leak` names one of `LEAKS`: what a cycle wrongly keeps."""

    repository: Path
    cache: Path
    model: str
    units: int
    seed: int
    cycles: int
    leak: str = "nothing"


def cycle(plan: Plan) -> list[Sample]:
    """A sample after each cycle. Raises `AssertionError` on a wrong answer."""
    wrapper = structlog.make_filtering_bound_logger(logging.ERROR)
    structlog.configure(wrapper_class=wrapper)

    with LEAKS[plan.leak]([]):
        return anyio.run(_cycle, plan)


async def _cycle(plan: Plan) -> list[Sample]:
    config = EngineConfig(repository=plan.repository, cache=plan.cache)
    spec = ModelSpec(name=plan.model)
    request = PredictRequest(model=spec, inputs={"values": wide.rows()})
    expected = wide.answers(plan.units, plan.seed)[:, None]
    samples = []

    async with Engine(config) as engine:
        while not engine.ready():
            await engine.wait_changed()

        for _ in range(plan.cycles):
            await engine.load(spec)
            [answer] = (await engine.predict(request)).outputs.values()
            np.testing.assert_allclose(answer, expected, rtol=1e-3, atol=1e-3)
            await engine.unload(spec)
            samples.append(_sample())

    return samples


def slope(figures: Sequence[float]) -> float:
    """What they grow by from one to the next, by the line of least squares."""
    return float(np.polyfit(np.arange(len(figures)), figures, 1)[0])


def _sample() -> Sample:
    text = Path("/proc/self/status").read_text()
    found = {name: int(number) for name, number in _FIELD.findall(text)}
    return Sample(
        resident=found["VmRSS"],
        threads=found["Threads"],
        files=len(os.listdir("/proc/self/fd")),
    )


@contextmanager
def _nothing(kept: list[Any]) -> Iterator[None]:
    yield


@contextmanager
def _bytes(kept: list[Any]) -> Iterator[None]:
    """Each cycle keeps so many, as a model with a cache of its own might."""
    with _closing(lambda servable: kept.append(os.urandom(LEAKED_BYTES))):
        yield


@contextmanager
def _graphs(kept: list[Any]) -> Iterator[None]:
    """Each cycle keeps its graph, as a single forgotten reference would."""
    with _closing(lambda servable: kept.append(servable._session.graph)):
        yield


@contextmanager
def _sessions(kept: list[Any]) -> Iterator[None]:
    """Each cycle keeps its session, with weights and threads, as if never closed."""

    def keep(servable: Any) -> None:
        kept.append(servable._session)
        servable._session = None

    with _closing(keep):
        yield


@contextmanager
def _closing(first: Callable[[Any], object]) -> Iterator[None]:
    """Do something `first` when a servable is closed."""
    from inference.runtime.servable import Servable

    close = Servable.close

    def leaking(self: Servable) -> None:
        first(self)
        close(self)

    Servable.close = leaking  # type: ignore[method-assign]

    try:
        yield
    finally:
        Servable.close = close  # type: ignore[method-assign]


LEAKS = {
    "nothing": _nothing,
    f"{LEAKED_BYTES // 1024} KiB": _bytes,
    "its graph": _graphs,
    "its session": _sessions,
}
