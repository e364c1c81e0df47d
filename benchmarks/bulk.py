"""A file of rows: its speed over our runtime's own, and what others feel of it."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import httpx
import numpy as np

from benchmarks.harness import models
from benchmarks.harness.children import child
from benchmarks.harness.clocks import alternate, median_ratio, percentile
from benchmarks.harness.exchanges import predict_path, predictions, rounded
from benchmarks.harness.generator import Open, Span, generating
from benchmarks.harness.memory import MIB, Sampler
from benchmarks.harness.recording import OK
from benchmarks.harness.report import Report, Table, at_least, at_most
from benchmarks.harness.run import say
from benchmarks.harness.servers import ROOT, serving_models
from inference import available_cpus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.harness.exchanges import Exchange
    from benchmarks.harness.recording import Recording
    from benchmarks.harness.run import Run
    from benchmarks.harness.servers import Server
    from inference.types import Array

MODEL = "digits_cnn"
SHAPE = (8, 8)
SPEED, TAIL, FLAT_MIB = 0.6, 2.0, 64.0
RATE = 100.0
"""Synchronous requests a second."""
TIGHT_ROWS = (64, 256, 1024)
TIGHT, HERE, SERVED = "tight loop", "in process", "on a server"
REST, DURING = "at rest", "during a bulk job"
SAMPLE_SECONDS = 0.05
STRETCH = Span(seconds=5.0, settle=0.5)
QUEUED_ROWS = 1_000_000
"""Rows of the bulk jobs that wait behind the first: a stretch must not outlast them."""
INTRODUCTION = """\
The model is `demo/digits_cnn.py`, 8×8 pixels. `tandem predict` sends {rows:,} rows of
an `.npy` through it and writes an `.npy`. Its time is that of the whole command less
that of the same command with one row, so without start and loading. The tight loop
calls our runtime on rows in memory, in a thread for each CPU, with the best of {tight}
rows a call. They take turns, {rounds} rounds. A speed is a median of the rounds'
ratios. Memory is the most that is resident, with all rows over that with a tenth.

For the tails the same model is asked {rate:g} times a second for one row, at fixed
instants from which latency counts, {rounds} times at rest and in turn while rows run
as a job of the same server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The model, the files of rows by their number, and the folder for the rest."""

    folder: Path
    model: Path
    cache: Path
    artifact: Path
    rows: dict[int, Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Seconds of a command, and those of CPUs; the most resident bytes."""

    seconds: float
    cpu: float
    resident: int


def measure(run: Run) -> Report:
    """Measure bulk work's speed, its memory, and others' tails beside it."""
    rows, rounds = (100_000, 1) if run.quick else (1_000_000, 3)
    files = _write(run, rows)
    speeds, served = _speeds(files, rows, rounds)
    tails = {name: _tails(run, files, rows, rounds, cpus) for name, cpus in _ways(run)}
    found = {
        "rows a second": _ratios(speeds, lambda spent: spent.seconds),
        "rows a CPU second": _ratios(speeds, lambda spent: spent.cpu),
    }
    small = _command(files, HERE, rows // 10, None)
    growth = (max(each.resident for each in speeds[HERE]) - small.resident) / MIB
    return Report(
        title="Files of rows",
        introduction=INTRODUCTION.format(
            rows=rows,
            rounds=rounds,
            rate=RATE,
            tight=" or ".join(map(str, TIGHT_ROWS)),
        ),
        figures=[
            *(
                at_least(SPEED, f"{name} {way} over the tight loop", ratio)
                for name, ratios in found.items()
                for way, ratio in ratios.items()
            ),
            at_most(FLAT_MIB, "memory in process for ten times the rows, MiB", growth),
            at_most(FLAT_MIB, "memory of the server over its first MiB", served),
            *(
                at_most(TAIL, f"p99 during a bulk job over at rest, {name}", ratio)
                for name, (ratio, _) in tails.items()
            ),
        ],
        tables=[
            _speed_table(speeds, rows),
            *(_tail_table(name, both) for name, (_, both) in tails.items()),
        ],
    )


def _ways(run: Run) -> list[tuple[str, Sequence[int]]]:
    both = sorted({*run.server_cpus, *run.client_cpus})
    return [
        ("server on one CPU, client on another", run.server_cpus),
        ("server on both CPUs, client on one of them", both),
    ]


def _write(run: Run, rows: int) -> Files:
    repository, cache = run.subfolder("models"), run.folder / "cache"
    model = repository / f"{MODEL}.h5"

    with child() as writer:
        writer.call(_write_model, model)

    artifact = models.compile_models({MODEL: model}, cache)[MODEL]
    files = {}

    for count in (1, rows // 10, rows):
        files[count] = run.folder / f"rows-{count}.npy"
        np.save(files[count], _rows(count))

    return Files(
        folder=run.folder, model=model, cache=cache, artifact=artifact, rows=files
    )


def _write_model(path: Path) -> None:
    from demo.digits_cnn import write_digits_cnn

    write_digits_cnn(path)
    # Without further outputs on request.
    path.with_suffix(".toml").unlink()


def _rows(count: int) -> Array:
    chance = np.random.default_rng(models.SEED)
    return chance.integers(0, 17, (count, *SHAPE)).astype(np.float32)


def _speeds(
    files: Files, rows: int, rounds: int
) -> tuple[dict[str, list[Spent]], float]:
    """Run the ways in turn; return what each took, and the server's growth in MiB."""
    with (
        _serving(files, "speeds") as server,
        child() as process,
    ):
        server.wait_ready(_exchanges(files)[0])
        net = {way: partial(_net, files, way, rows, server) for way in (HERE, SERVED)}
        net[SERVED]()

        with Sampler(server.process.pid, SAMPLE_SECONDS) as sampler:
            turns = alternate(
                {TIGHT: partial(_tight, process.call, files, rows), **net}, rounds
            )

    for name, spent in turns.items():
        middle = statistics.median(each.seconds for each in spent)
        say(f"{name}: {rows / middle:,.0f} rows/s")

    return turns, sampler.growth / MIB


@contextmanager
def _serving(files: Files, name: str, cpus: Sequence[int] = ()) -> Iterator[Server]:
    """Serve the model; jobs and log are of this `name`."""
    flags = (
        *("--data-dir", str(files.folder / name), "--log-level", "warning"),
        *("--no-screen", "--max-jobs-bytes", str(1 << 40)),
    )
    log = files.folder / f"{name}.log"
    with serving_models(
        files.model.parent, files.cache, log, *flags, cpus=cpus
    ) as server:
        yield server


def _net(files: Files, way: str, rows: int, server: Server) -> Spent:
    """Return a command's time and CPU time without those of one with one row."""
    start = _command(files, way, 1, server.url)
    before = server.cpu_seconds()
    spent = _command(files, way, rows, server.url)
    served = server.cpu_seconds() - before if way == SERVED else 0.0
    return Spent(
        seconds=spent.seconds - start.seconds,
        cpu=spent.cpu - start.cpu + served,
        resident=spent.resident,
    )


def _command(files: Files, way: str, rows: int, url: str | None) -> Spent:
    target = files.folder / "out.npy"
    place = [MODEL, "--server", str(url)] if way == SERVED else [str(files.model)]
    started = time.perf_counter()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "service.cli.main", "predict", *place),
            *("--input", str(files.rows[rows]), "--output", str(target)),
            *("--cache-dir", str(files.cache)),
        ],
        cwd=ROOT,
    )

    with Sampler(process.pid, SAMPLE_SECONDS) as memory:
        # Not reaped yet: what was read of it last must be its own.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started

    if process.returncode or len(np.load(target, mmap_mode="r")) != rows:
        raise RuntimeError(f"{way}: the command failed with {process.returncode}")

    return Spent(
        seconds=seconds,
        cpu=used.ru_utime + used.ru_stime,
        resident=max(memory.samples),
    )


def _tight(call: Callable[..., Spent], files: Files, rows: int) -> Spent:
    found = [call(run_tight, files.artifact, rows, size) for size in TIGHT_ROWS]
    return min(found, key=lambda spent: spent.seconds)


def run_tight(folder: Path, rows: int, size: int) -> Spent:
    """Send rows through the runtime, `size` a call; to be called in a child process."""
    opened = models.servable(folder, 1)
    signature = opened.signatures[opened.manifest.default_signature]
    [name] = signature.inputs
    inputs = {name: _rows(size)}
    threads = available_cpus()

    def work(_: int) -> None:
        for _ in range(rows // size // threads):
            opened.run(signature.name, inputs)

    opened.run(signature.name, inputs)
    cpu, started = time.process_time(), time.perf_counter()

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))

    share = rows / (rows // size // threads * size * threads)
    return Spent(
        seconds=(time.perf_counter() - started) * share,
        cpu=(time.process_time() - cpu) * share,
        resident=0,
    )


def _ratios(
    speeds: dict[str, list[Spent]], cost: Callable[[Spent], float]
) -> dict[str, float]:
    """Return how cheap each way is, over the tight loop."""
    tight = [cost(each) for each in speeds[TIGHT]]
    return {
        way: median_ratio(tight, [cost(each) for each in speeds[way]])
        for way in (HERE, SERVED)
    }


def _exchanges(files: Files) -> list[Exchange]:
    rows = rounded(_rows(64))

    with child() as keras:
        answers = keras.call(models.answer_keras, files.model, rows)

    return predictions(rows, answers, predict_path(MODEL))


def _tails(
    run: Run, files: Files, rows: int, rounds: int, cpus: Sequence[int]
) -> tuple[float, dict[str, list[Recording]]]:
    """Return the ratio of the p99s, and the requests at rest and during a job."""
    name = "-".join(["tails", *map(str, cpus)])
    exchanges = _exchanges(files)
    found: dict[str, list[Recording]] = {REST: [], DURING: []}

    with (
        generating(run.client_cpus) as generator,
        _serving(files, name, cpus) as server,
        httpx.Client(base_url=server.url, timeout=600) as client,
    ):
        server.wait_ready(exchanges[0])
        stream = Open(port=server.port, exchanges=exchanges, rate=RATE, pace="constant")
        generator.run([stream], STRETCH)

        for _ in range(rounds):
            found[REST] += generator.run([stream], STRETCH)

            with _bulk(client, files.rows[rows], 1 + -(-QUEUED_ROWS // rows)):
                found[DURING] += generator.run([stream], STRETCH)

    ratio = _p99(found[DURING]) / _p99(found[REST])
    say(f"p99 {_p99(found[REST]):.2f} ms at rest, {ratio:.2f} times during a job")
    return ratio, found


@contextmanager
def _bulk(client: httpx.Client, rows: Path, count: int) -> Iterator[None]:
    """Have so many bulk jobs run until the block ends."""
    headers = {"Prefer": "respond-async", "Content-Type": "application/x-npy"}
    urls = []

    for _ in range(count):
        with rows.open("rb") as file:
            job = client.post(predict_path(MODEL), content=file, headers=headers)

        urls.append(job.raise_for_status().json()["urls"]["self"])

    yield

    # It must have lasted.
    last = client.get(urls[-1]).json()["status"]

    if last not in ("queued", "running"):
        raise RuntimeError(f"the last bulk job was {last} too soon")

    for url in reversed(urls):
        client.delete(url)


def _latencies(recordings: Sequence[Recording]) -> Array:
    """Return the seconds of answers to requests that count; all must be right."""
    parts = []

    for each in recordings:
        intended, ended = np.asarray(each.intended), np.asarray(each.ended)
        fine = np.asarray(each.statuses) == OK

        if not fine.all() or each.wrong:
            raise RuntimeError("a synchronous request failed")

        parts.append((ended - intended)[intended >= STRETCH.settle])

    return np.concatenate(parts)


def _p99(recordings: Sequence[Recording]) -> float:
    return percentile(_latencies(recordings), 99) or np.nan


def _speed_table(speeds: dict[str, list[Spent]], rows: int) -> Table:
    return Table(
        title="Rows a second",
        columns=("way", "rows/s", "CPU µs a row", "most resident MiB"),
        rows=[
            (
                name,
                f"{rows / statistics.median(each.seconds for each in spent):,.0f}",
                f"{statistics.median(each.cpu for each in spent) / rows * 1e6:.1f}",
                f"{max(each.resident for each in spent) / MIB:,.0f}",
            )
            for name, spent in speeds.items()
        ],
        note="On a server, memory is that of the command alone, CPU that of both.",
    )


def _tail_table(name: str, found: dict[str, list[Recording]]) -> Table:
    rows = []

    for when, recordings in found.items():
        seconds = _latencies(recordings)
        cells = [percentile(seconds, percent) or np.nan for percent in (50, 99, 100)]
        rows.append((when, str(len(seconds)), *(f"{cell:.2f}" for cell in cells)))

    return Table(
        title=f"Latencies: {name}",
        columns=("when", "requests", "p50 ms", "p99", "most"),
        rows=rows,
    )
