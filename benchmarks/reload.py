"""Tail latencies of a small model while a large one is compiled and replaced.

A small dense `.h5` is asked 100 times a second, at fixed instants from which latency
counts; meanwhile an `.h5` of 100 MB appears in the same server's repository, and newer
versions of it after that. The server has its defaults but for `--scan-seconds 1`. Its
compiler runs on the server's CPUs, at lower priority. `load` lasts until the new
version answers, `unload` until the one before is gone.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from threading import Event
from typing import TYPE_CHECKING

import httpx
import numpy as np

from benchmarks.harness import models
from benchmarks.harness.children import child
from benchmarks.harness.clocks import tails, wait_until
from benchmarks.harness.exchanges import predict_path, predictions, rounded
from benchmarks.harness.generator import Open, Span, generating
from benchmarks.harness.recording import OK, RESET
from benchmarks.harness.report import Report, Table, at_most
from benchmarks.harness.run import say
from benchmarks.harness.servers import serving_models, states

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.harness.exchanges import Exchange
    from benchmarks.harness.generator import Generator
    from benchmarks.harness.recording import Recording
    from benchmarks.harness.report import Figure
    from benchmarks.harness.run import Run
    from inference.types import Array

    Period = tuple[float, float]

LIGHT, HEAVY = "dense", "wide"
RATIO = 1.5
RATE = 100.0
"""Requests a second."""
FLAGS = ("--scan-seconds", "1")
STRETCH = Span(seconds=5.0, settle=0.5)
CALM_SECONDS = 1.0
"""After a reload, before the next round."""
POLL_SECONDS, PATIENCE_SECONDS = 0.05, 120.0
NOTICE, COMPILE, LOAD, UNLOAD = "notice", "compile", "load", "unload"
STAGES = (NOTICE, COMPILE, LOAD, UNLOAD)
"""In their order: until the files were quiet, in the compiler's child, mapped and
warmed up, and until the version before is gone."""
REST, DURING = "at rest", "during a reload"
COLUMNS = ("when", "s, median", "requests", "p50 ms", "p99", "most", "p99 / at rest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The settings of both servers; each rests for `rest` seconds before a reload."""

    generator: Generator
    exchanges: Sequence[Exchange]
    light: Path
    staged: Sequence[Path]
    rest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """From `begin` to `end` by `time.perf_counter`, as exact as the polling is."""

    name: str
    begin: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One server's requests, and the stages of each of its reloads."""

    name: str
    recordings: list[Recording] = field(default_factory=list)
    stages: list[list[Stage]] = field(default_factory=list)

    def latencies(self, name: str) -> Array:
        """Return the seconds of requests due at a stage, or at `REST` or `DURING`."""
        periods = self._periods(DURING if name == REST else name)
        return np.concatenate(
            [_latencies(each, periods, name != REST) for each in self.recordings]
        )

    def p99(self, name: str) -> float:
        return tails(self.latencies(name))[1]

    def seconds(self, name: str) -> list[float]:
        """Return how long each round's stage took."""
        return [end - begin for begin, end in self._periods(name)]

    def _periods(self, name: str) -> list[Period]:
        if name == DURING:
            # Until files are quiet the server only looks at them, as at rest.
            return [(stages[0].end, stages[-1].end) for stages in self.stages]

        every = [stage for stages in self.stages for stage in stages]
        return [(stage.begin, stage.end) for stage in every if stage.name == name]


def measure(run: Run) -> Report:
    """Measure a model's tail latencies while another one is reloaded."""
    rounds, units, rest = (1, 1000, 2.0) if run.quick else (4, 5000, 10.0)
    light = run.folder / f"{LIGHT}.h5"
    staged = [run.folder / f"{version}.h5" for version in range(1, rounds + 1)]
    exchanges = _write(light, staged, units)

    with generating(run.client_cpus) as generator:
        bench = Bench(
            generator=generator,
            exchanges=exchanges,
            light=light,
            staged=staged,
            rest=rest,
        )
        found = [_measure(bench, *place) for place in run.placements.items()]

    return Report(
        title="While a model is reloaded",
        figures=[figure for each in found for figure in _figures(each)],
        tables=[_table(each) for each in found],
    )


def _write(light: Path, staged: Sequence[Path], units: int) -> list[Exchange]:
    """Write the models; make requests to the light one."""
    rows = rounded(models.rows_for((32,), 64))

    with child() as writer:
        writer.call(models.write_dense, light)
        answers = writer.call(models.answer_keras, light, rows)

        for seed, path in enumerate(staged, 1):
            writer.call(models.Wide(units=units, seed=seed).write_keras, path)

    return predictions(rows, answers, predict_path(LIGHT))


def _measure(bench: Bench, name: str, cpus: Sequence[int]) -> Measured:
    """Reload each staged version in a server on `cpus`."""
    folder = bench.light.parent / "-".join(map(str, cpus))
    repository = folder / "models"
    (repository / HEAVY).mkdir(parents=True)
    (repository / bench.light.name).hardlink_to(bench.light)
    measured = Measured(name=name)

    with (
        serving_models(folder, *FLAGS, cpus=cpus) as server,
        # One client: another for each look would take CPU from what is measured.
        httpx.Client(base_url=server.url) as client,
    ):
        stream = Open(
            port=server.port, exchanges=bench.exchanges, rate=RATE, pace="constant"
        )
        bench.generator.run([stream], Span(seconds=bench.rest))

        for version, path in enumerate(bench.staged, 1):
            put = partial(_put, repository / HEAVY / str(version), path)

            with _sending(bench.generator, stream, measured.recordings):
                time.sleep(bench.rest)
                stages = _stages(client, folder / "cache", version, put)
                measured.stages.append(stages)
                time.sleep(CALM_SECONDS)

            say(f"{name}: version {version} measured")

    return measured


@contextmanager
def _sending(
    generator: Generator, stream: Open, recordings: list[Recording]
) -> Iterator[None]:
    """Send stretches of a stream until the block ends; record them."""
    over = Event()

    def send() -> None:
        while not over.is_set():
            recordings.extend(generator.run([stream], STRETCH))

    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(send)

        try:
            yield
        finally:
            over.set()

        sent.result()


def _put(place: Path, source: Path) -> None:
    # A link appears in one step, and costs no copying.
    place.mkdir()
    (place / "model.h5").hardlink_to(source)


def _stages(
    client: httpx.Client, cache: Path, version: int, put: Callable[[], None]
) -> list[Stage]:
    """Return the stages from `put`, which makes the version appear, until it is the
    only one, by the server's status and cache. Raises `TimeoutError`."""

    def artifacts() -> int:
        return sum(1 for _ in cache.glob("[!.]*/manifest.json"))

    def found() -> dict[int, str]:
        return states(client.get("/v1/models").json(), HEAVY)

    before, marks = artifacts(), [time.perf_counter()]
    put()

    for condition in (
        lambda: version in found(),
        lambda: artifacts() > before,
        lambda: found().get(version) == "AVAILABLE",
        lambda: found().keys() == {version},
    ):
        if not wait_until(condition, PATIENCE_SECONDS, every=POLL_SECONDS):
            raise TimeoutError(f"{HEAVY} has stopped at: {found()}")

        marks.append(time.perf_counter())

    return [
        Stage(name=name, begin=begin, end=end)
        for name, (begin, end) in zip(STAGES, pairwise(marks), strict=True)
    ]


def _latencies(recording: Recording, periods: Sequence[Period], inside: bool) -> Array:
    """Return the seconds of requests due inside, or outside, of all periods."""
    intended, ended = np.asarray(recording.intended), np.asarray(recording.ended)
    due = intended + recording.origin
    chosen = np.zeros(len(due), bool)

    for begin, end in periods:
        chosen |= (due >= begin) & (due < end)

    fine = (np.asarray(recording.statuses) == OK) & (intended >= STRETCH.settle)
    found: Array = (ended - intended)[(chosen == inside) & fine]
    return found


def _figures(measured: Measured) -> list[Figure]:
    name = measured.name
    statuses = np.concatenate([each.statuses for each in measured.recordings])
    odd = statuses[~np.isin(statuses, (OK, RESET))].tolist()
    counted = f" ({dict(Counter(odd))})" if odd else ""
    ratio = measured.p99(DURING) / measured.p99(REST)
    wrong = sum(each.wrong for each in measured.recordings)
    return [
        at_most(RATIO, f"{name}: p99 during a reload over at rest", ratio),
        at_most(0, f"{name}: connections reset", int((statuses == RESET).sum())),
        at_most(0, f"{name}: not answered 200{counted}", len(odd)),
        at_most(0, f"{name}: answers with a wrong value", wrong),
    ]


def _table(measured: Measured) -> Table:
    rows = [_row(measured, name) for name in (REST, DURING, COMPILE, LOAD, UNLOAD)]
    return Table(title=measured.name.capitalize(), columns=COLUMNS, rows=rows)


def _row(measured: Measured, name: str) -> tuple[str | float, ...]:
    latencies = measured.latencies(name)
    # The two times that aren't a stage have no length.
    seconds = statistics.median(measured.seconds(name)) if name in STAGES else "–"
    ratio = measured.p99(name) / measured.p99(REST)
    return name, seconds, len(latencies), *tails(latencies), ratio
