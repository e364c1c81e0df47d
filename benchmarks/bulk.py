"""A file of rows: its speed over our runtime's own, and what others feel of it.

The model is `demo/digits_cnn.py`, 8×8 pixels. `tandem predict` sends 1,000,000 rows of
an `.npy` through it and writes an `.npy`. Its time is that of the whole command less
that of the same command with one row, so without start and loading. The tight loop
calls our runtime on rows in memory, in a thread for each CPU, with the best of 64, 256
or 1024 rows a call. They take turns, three rounds. A speed is a median of the rounds'
ratios. Memory is the most that is resident, with all rows over that with a tenth.

For the tails the same model is asked 100 times a second for one row, at fixed instants
from which latency counts, three times at rest and in turn while rows run as a job of
the same server.
"""

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
from benchmarks.harness.clocks import alternate, median_ratio, tails
from benchmarks.harness.exchanges import predict_path, predictions, rounded
from benchmarks.harness.generator import Open, Span, generating
from benchmarks.harness.memory import MIB, sampling
from benchmarks.harness.recording import OK
from benchmarks.harness.report import Report, Table, at_least, at_most
from benchmarks.harness.run import say
from benchmarks.harness.servers import ROOT, serving_models
from inference import available_cpus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from benchmarks.harness.children import Child
    from benchmarks.harness.exchanges import Exchange
    from benchmarks.harness.recording import Recording
    from benchmarks.harness.report import Figure
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
SAMPLE_SECONDS = 0.05
STRETCH = Span(seconds=5.0, settle=0.5)
QUEUED_ROWS = 1_000_000
"""Rows of the bulk jobs that wait behind the first: a stretch must not outlast them."""
FLAGS = ("--log-level", "warning", "--no-screen", "--max-jobs-bytes", str(1 << 40))


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """A folder that a server is started with, the artifact of its model, requests
    to it, and files of rows by their number."""

    folder: Path
    artifact: Path
    exchanges: list[Exchange]
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
    latencies = {
        place: _tails(run, files, rows, rounds, cpus)
        for place, cpus in run.placements.items()
    }
    small = _command(files, HERE, rows // 10)
    growth = (max(each.resident for each in speeds[HERE]) - small.resident) / MIB
    return Report(
        title="Files of rows",
        figures=[
            *_speed_figures(speeds),
            at_most(FLAT_MIB, "memory in process for ten times the rows, MiB", growth),
            at_most(FLAT_MIB, "memory of the server over its first MiB", served),
            *(_tail_figure(place, *both) for place, both in latencies.items()),
        ],
        tables=[_speed_table(speeds, rows), _tail_table(latencies)],
    )


def _write(run: Run, rows: int) -> Files:
    model = run.subfolder("models") / f"{MODEL}.h5"
    some = rounded(_rows(64))

    with child() as process:
        process.call(_write_model, model)
        answers = process.call(models.answer_keras, model, some)

    files = {count: run.folder / f"{count}.npy" for count in (1, rows // 10, rows)}

    for count, path in files.items():
        np.save(path, _rows(count))

    return Files(
        folder=run.folder,
        artifact=models.compile_models({MODEL: model}, run.folder / "cache")[MODEL],
        exchanges=predictions(some, answers, predict_path(MODEL)),
        rows=files,
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
    with _serving(files, "speeds") as server, child() as process:
        ways = {
            TIGHT: partial(_tight, process, files.artifact, rows),
            HERE: partial(_net, files, HERE, rows, server),
            SERVED: partial(_net, files, SERVED, rows, server),
        }
        ways[SERVED]()

        with sampling(server.process.pid, SAMPLE_SECONDS) as samples:
            turns = alternate(ways, rounds)

    for name, spent in turns.items():
        middle = statistics.median(each.seconds for each in spent)
        say(f"{name}: {rows / middle:,.0f} rows/s")

    return turns, samples.growth / MIB


def _serving(
    files: Files, jobs: str, cpus: Sequence[int] = ()
) -> AbstractContextManager[Server]:
    """Serve the model, with a folder of its own for the jobs."""
    flags = ("--data-dir", str(files.folder / jobs), *FLAGS)
    return serving_models(files.folder, *flags, cpus=cpus)


def _net(files: Files, way: str, rows: int, server: Server) -> Spent:
    """Return a command's time and CPU time without those of one with one row."""
    start = _command(files, way, 1, server)
    before = server.cpu_seconds()
    spent = _command(files, way, rows, server)
    served = server.cpu_seconds() - before if way == SERVED else 0.0
    return Spent(
        seconds=spent.seconds - start.seconds,
        cpu=spent.cpu - start.cpu + served,
        resident=spent.resident,
    )


def _command(files: Files, way: str, rows: int, server: Server | None = None) -> Spent:
    """Run `tandem predict`, in process or as a job of `server`."""
    target = files.folder / "out.npy"
    model = str(files.folder / "models" / f"{MODEL}.h5")
    place = [MODEL, "--server", server.url] if server and way == SERVED else [model]
    command = [
        *(sys.executable, "-m", "service.cli.main", "predict", *place),
        *("--input", str(files.rows[rows]), "--output", str(target)),
        *("--cache-dir", str(files.folder / "cache")),
    ]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT)

    with sampling(process.pid, SAMPLE_SECONDS) as samples:
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
        resident=max(samples.resident),
    )


def _tight(process: Child, artifact: Path, rows: int) -> Spent:
    found = [process.call(run_tight, artifact, rows, size) for size in TIGHT_ROWS]
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


def _speed_figures(speeds: dict[str, list[Spent]]) -> Iterator[Figure]:
    """Compare how cheap each way is to the tight loop."""
    costs = {
        name: {way: [getattr(each, cost) for each in speeds[way]] for way in speeds}
        for name, cost in (("rows a second", "seconds"), ("rows a CPU second", "cpu"))
    }

    for name, spent in costs.items():
        for way in (HERE, SERVED):
            ratio = median_ratio(spent[TIGHT], spent[way])
            yield at_least(SPEED, f"{name} {way} over the tight loop", ratio)


def _tails(
    run: Run, files: Files, rows: int, rounds: int, cpus: Sequence[int]
) -> tuple[Array, Array]:
    """Return the seconds of requests at rest, and during a job."""
    rest, during = [], []

    with (
        generating(run.client_cpus) as generator,
        _serving(files, "-".join(["tails", *map(str, cpus)]), cpus) as server,
        httpx.Client(base_url=server.url, timeout=600) as client,
    ):
        stream = Open(
            port=server.port, exchanges=files.exchanges, rate=RATE, pace="constant"
        )
        generator.run([stream], STRETCH)

        for _ in range(rounds):
            rest += generator.run([stream], STRETCH)

            with _bulk(client, files.rows[rows], 1 + -(-QUEUED_ROWS // rows)):
                during += generator.run([stream], STRETCH)

    return _latencies(rest), _latencies(during)


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


def _tail_figure(place: str, rest: Array, during: Array) -> Figure:
    ratio = tails(during)[1] / tails(rest)[1]
    return at_most(TAIL, f"p99 during a bulk job over at rest, {place}", ratio)


def _speed_table(speeds: dict[str, list[Spent]], rows: int) -> Table:
    return Table(
        title="Rows a second",
        columns=("way", "rows/s", "CPU µs a row", "most resident MiB"),
        rows=[
            (
                name,
                rows / statistics.median(each.seconds for each in spent),
                statistics.median(each.cpu for each in spent) / rows * 1e6,
                max(each.resident for each in spent) / MIB,
            )
            for name, spent in speeds.items()
        ],
        note="On a server, memory is that of the command alone, CPU that of both.",
    )


def _tail_table(found: dict[str, tuple[Array, Array]]) -> Table:
    return Table(
        title="Latencies",
        columns=("when", "requests", "p50 ms", "p99", "most"),
        rows=[
            (f"{place}, {when}", len(seconds), *tails(seconds))
            for place, both in found.items()
            for when, seconds in zip(("at rest", "during a job"), both, strict=True)
        ],
    )
