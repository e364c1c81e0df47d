"""One server with a light model that is asked, and a heavy one that is reloaded."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import models, references, wide
from benchmarks.children import child
from benchmarks.load.exchanges import exchanges, rounded
from benchmarks.load.process import HOST, free_ports, server_process
from benchmarks.load.recording import OK
from benchmarks.load.streams import Open, Span
from benchmarks.stages import Lookout

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.load.exchanges import Exchange
    from benchmarks.load.generator import Generator
    from benchmarks.load.recording import Recording
    from benchmarks.stages import Stage
    from inference.types import Array

    Window = tuple[float, float]

LIGHT, HEAVY = "dense", "wide"
SCAN_SECONDS = 1
STRETCH = Span(seconds=5.0, settle=0.5)
CALM_SECONDS = 1.0
"""After a reload, before the next round."""
REST, DURING = "at rest", "during a reload"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all rounds of a run share. It rests for
    `rest_seconds` before each."""

    folder: Path
    units: int
    rounds: int
    rate: float
    rest_seconds: float
    exchanges: Sequence[Exchange]

    def fresh(self, name: str) -> Path:
        """An empty folder, with the light model in `models`."""
        folder = self.folder / name
        (folder / "models" / HEAVY).mkdir(parents=True)
        light = folder / "models" / f"{LIGHT}.h5"
        light.hardlink_to(self.folder / light.name)
        return folder

    def staged(self, version: int) -> Path:
        return self.folder / f"{version}.h5"


@dataclass(slots=True, kw_only=True)
class Measured:
    """One server: what came of its requests, and what it was at when."""

    name: str
    recordings: list[Recording]
    stages: list[list[Stage]]

    def latencies(self, name: str) -> Array:
        """In seconds, of the requests that were due at `name`: a stage, or one of
        `REST` and `DURING`."""
        windows = _windows(DURING if name == REST else name, self.stages)
        return np.concatenate(
            [_latencies(each, windows, name != REST) for each in self.recordings]
        )

    def seconds(self, name: str) -> list[float]:
        """How long each round's stage took."""
        return [
            stage.end - stage.begin
            for stages in self.stages
            for stage in stages
            if stage.name == name
        ]


def prepare(
    folder: Path, units: int, rounds: int, rate: float, rest_seconds: float
) -> Bench:
    """Write the models into `folder`, and ask Keras for the light one's answers."""
    light = folder / f"{LIGHT}.h5"
    asked = rounded(models.rows_for((references.INPUT_SIZE,), 64))

    with child() as writer:
        writer.call(models.write_small_dense, light)
        answers = writer.call(references.answer_rows, light, asked)

        for version in range(1, rounds + 1):
            path = folder / f"{version}.h5"
            writer.call(wide.write_keras, path, units, version)

    return Bench(
        folder=folder,
        units=units,
        rounds=rounds,
        rate=rate,
        rest_seconds=rest_seconds,
        exchanges=exchanges(
            asked,
            answers,
            size=1,
            form="instances",
            path=f"/v1/models/{LIGHT}:predict",
        ),
    )


def measure(
    bench: Bench, generator: Generator, name: str, cpus: Sequence[int]
) -> Measured:
    """A server on `cpus`, through all rounds."""
    folder = bench.fresh("-".join(map(str, cpus)))
    [port] = free_ports(1)
    cache = folder / "cache"
    command = [
        sys.executable,
        "-m",
        "service.cli.main",
        "serve",
        str(folder / "models"),
    ]
    command += ["--host", HOST, "--port", str(port), "--cache-dir", str(cache)]
    command += ["--scan-seconds", str(SCAN_SECONDS)]
    measured = Measured(name=name, recordings=[], stages=[])
    stream = Open(
        port=port, exchanges=bench.exchanges, rate=bench.rate, pace="constant"
    )

    with server_process(command, cpus, folder / "log") as process:
        process.wait_ready(port, bench.exchanges[0].request)
        generator.run([stream], Span(seconds=bench.rest_seconds))
        lookout = Lookout(port, HEAVY, cache)

        for version in range(1, bench.rounds + 1):
            source = bench.staged(version)
            place = folder / "models" / HEAVY / str(version)
            _round(bench, generator, stream, lookout, (source, place), measured)
            print(f"{name}: version {version} measured", flush=True)

    return measured


def _round(
    bench: Bench,
    generator: Generator,
    stream: Open,
    lookout: Lookout,
    move: tuple[Path, Path],
    measured: Measured,
) -> None:
    """Rest, and a reload: stretches of one stream, until it is over."""
    source, place = move
    over = Event()

    def send() -> None:
        while not over.is_set():
            measured.recordings += generator.run([stream], STRETCH)

    def put() -> None:
        # A link appears in one step, and costs no copying.
        place.mkdir()
        (place / "model.h5").hardlink_to(source)

    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(send)

        try:
            time.sleep(bench.rest_seconds)
            measured.stages.append(lookout.watch(int(place.name), put))
            time.sleep(CALM_SECONDS)
        finally:
            over.set()

        sent.result()


def _latencies(recording: Recording, windows: Sequence[Window], inside: bool) -> Array:
    """Of the requests that were due inside or outside of all windows."""
    intended, ended = np.asarray(recording.intended), np.asarray(recording.ended)
    due = intended + recording.origin
    chosen = np.zeros(len(due), bool)

    for begin, end in windows:
        chosen |= (due >= begin) & (due < end)

    fine = (np.asarray(recording.statuses) == OK) & (intended >= STRETCH.settle)
    found: Array = (ended - intended)[(chosen == inside) & fine]
    return found


def _windows(name: str, rounds: Sequence[Sequence[Stage]]) -> list[Window]:
    """By `time.perf_counter`. Until files are quiet nothing happens but that they are
    looked at, as at rest."""
    if name == DURING:
        return [(stages[0].end, stages[-1].end) for stages in rounds]

    return [
        (stage.begin, stage.end)
        for stages in rounds
        for stage in stages
        if stage.name == name
    ]
