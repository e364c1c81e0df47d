"""The page for people, open in ten tabs: its price for a small model's requests.

32 connections ask the dense model for one row each time, in turns without and with ten
clients that follow the page's figures, as its tabs do. Seven rounds of 4 s; ratios are
medians over the rounds. CPU time is the steadier one.
"""

from __future__ import annotations

import os
import statistics
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Barrier, Event
from typing import TYPE_CHECKING

import httpx

from benchmarks.harness.clocks import alternate, median_ratio
from benchmarks.harness.generator import generating
from benchmarks.harness.report import Report, Table, at_least
from benchmarks.load.contenders import NAMES, TANDEM, running
from benchmarks.load.workloads import DENSE, prepare
from benchmarks.request import take_turn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.harness.run import Run
    from benchmarks.request import Turn

TABS, CONNECTIONS = 10, 32
TARGET = 0.97
PATIENCE_SECONDS = 30.0
"""For the next figures, which come every second."""


def measure(run: Run) -> Report:
    """Measure a small model's requests without and with tabs, in turn."""
    rounds, seconds = (2, 2.0) if run.quick else (7, 4.0)

    with (
        generating(run.client_cpus) as generator,
        running(NAMES[TANDEM], prepare(run), DENSE.model) as server,
    ):

        def turn(tabs: int) -> Turn:
            with following(server.server.url, tabs, run.client_cpus):
                return take_turn(generator, server, CONNECTIONS, seconds)

        turns = alternate({tabs: partial(turn, tabs) for tabs in (0, TABS)}, rounds)

    return report(turns)


def report(turns: dict[int, list[Turn]]) -> Report:
    cpu = {tabs: [each.cpu for each in found] for tabs, found in turns.items()}
    rate = {tabs: [each.rate for each in found] for tabs, found in turns.items()}
    cheaper, faster = median_ratio(cpu[0], cpu[TABS]), median_ratio(rate[TABS], rate[0])
    return Report(
        title="The page in ten tabs",
        figures=[
            at_least(TARGET, "CPU without tabs / with", cheaper),
            at_least(TARGET, "answers a second with tabs / without", faster),
        ],
        tables=[
            Table(
                title="Medians",
                columns=("tabs", "CPU µs an answer", "answers/s"),
                rows=[
                    (tabs, statistics.median(cpu[tabs]), statistics.median(rate[tabs]))
                    for tabs in turns
                ],
            )
        ],
    )


@contextmanager
def following(url: str, tabs: int, cpus: Sequence[int]) -> Iterator[None]:
    """Let so many clients read the figures, as they come, until the block ends.

    Raise `RuntimeError` if a stream has ended before.
    """
    begun, over = Barrier(tabs + 1), Event()

    # On Linux a number of 0 is the thread that calls, not its process.
    pin = partial(os.sched_setaffinity, 0, cpus)

    with ThreadPoolExecutor(tabs + 1, initializer=pin) as pool:
        clients = [pool.submit(follow, url, begun, over) for _ in range(tabs)]

        try:
            begun.wait(PATIENCE_SECONDS)
            yield
        finally:
            over.set()

        for client in clients:
            client.result()


def follow(url: str, begun: Barrier, over: Event) -> None:
    path = "/v1/overview/events"

    with httpx.stream("GET", url + path, timeout=PATIENCE_SECONDS) as stream:
        stream.raise_for_status()
        begun.wait(PATIENCE_SECONDS)

        for _ in stream.iter_raw():
            if over.is_set():
                return

    raise RuntimeError("A stream of the page's figures has ended.")
