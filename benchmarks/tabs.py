"""The page for people, open in ten tabs: its price for a small model's requests."""

from __future__ import annotations

import selectors
import socket
import statistics
import threading
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.harness.clocks import alternate, median_ratio
from benchmarks.harness.generator import generating
from benchmarks.harness.report import Report, Table, at_least
from benchmarks.harness.servers import HOST
from benchmarks.load.contenders import NAMES, TANDEM, running
from benchmarks.load.workloads import DENSE, prepare
from benchmarks.request import take_turn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.harness.generator import Generator
    from benchmarks.harness.run import Run
    from benchmarks.load.contenders import Running
    from benchmarks.request import Turn

TABS, CONNECTIONS = 10, 32
CLOSED, OPEN = "no tab", f"{TABS} tabs"
STREAM = (
    b"GET /v1/overview/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"
)
TARGET = 0.97
INTRODUCTION = """\
{connections} connections ask the dense model for one row each time, in turns without
and with {tabs} clients that follow the page's figures, as its tabs do. {rounds} rounds
of {seconds:g} s; ratios are medians over the rounds. CPU time is the steadier one."""


def measure(run: Run) -> Report:
    """Measure a small model's requests without and with tabs, in turn."""
    rounds, seconds = (2, 2.0) if run.quick else (7, 4.0)
    bench = prepare(run)

    with generating(run.client_cpus) as generator, ExitStack() as stack:
        server = stack.enter_context(running(NAMES[TANDEM], bench, DENSE.model))
        ways = {
            CLOSED: partial(turn, generator, server, 0, seconds),
            OPEN: partial(turn, generator, server, TABS, seconds),
        }
        turns = alternate(ways, rounds)

    introduction = INTRODUCTION.format(
        connections=CONNECTIONS, tabs=TABS, rounds=rounds, seconds=seconds
    )
    return report(turns, introduction)


def report(turns: Mapping[str, Sequence[Turn]], introduction: str) -> Report:
    """Report the CPU time and the rate with tabs beside those without."""
    cpu = {way: [each.cpu for each in found] for way, found in turns.items()}
    rate = {way: [each.rate for each in found] for way, found in turns.items()}
    return Report(
        title="The page in ten tabs",
        introduction=introduction,
        figures=[
            at_least(TARGET, "CPU without tabs / with", median_ratio(*cpu.values())),
            at_least(
                TARGET,
                "answers a second with tabs / without",
                median_ratio(rate[OPEN], rate[CLOSED]),
            ),
        ],
        tables=[
            Table(
                title="Medians",
                columns=("tabs", "CPU µs an answer", "answers/s"),
                rows=[
                    (
                        way,
                        f"{statistics.median(cpu[way]):.1f}",
                        f"{statistics.median(rate[way]):,.0f}",
                    )
                    for way in turns
                ],
            )
        ],
        raw=[each for found in turns.values() for each in found],
    )


def turn(generator: Generator, server: Running, tabs: int, seconds: float) -> Turn:
    with following(server.port, tabs):
        return take_turn(generator, server, CONNECTIONS, seconds)


@contextmanager
def following(port: int, tabs: int) -> Iterator[None]:
    """Let so many clients read the figures, as they come, until the block ends.

    Raise `RuntimeError` if a stream has ended before.
    """
    ended = threading.Event()
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for _ in range(tabs):
            client = stack.enter_context(socket.create_connection((HOST, port)))
            client.sendall(STREAM)
            assert b" 200 " in client.recv(65536).split(b"\r\n")[0]
            selector.register(client, selectors.EVENT_READ)

        broken: list[str] = []
        reader = threading.Thread(target=_read, args=(selector, ended, broken))
        reader.start()
        try:
            yield
        finally:
            ended.set()
            reader.join()

    if broken:
        raise RuntimeError(broken[0])


def _read(
    selector: selectors.BaseSelector, ended: threading.Event, broken: list[str]
) -> None:
    while not ended.is_set():
        for key, _ in selector.select(timeout=0.2):
            client = key.fileobj
            assert isinstance(client, socket.socket)
            if not client.recv(1 << 20):
                broken.append("A stream of the page's figures has ended.")
                selector.unregister(client)
