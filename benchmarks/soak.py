"""Many requests of every kind to one server: each answered rightly, nothing left over.

The server is `uvicorn asgi:app` in a process of its own, with a dense `.h5` and a
frozen `.pb`; what they must answer, Keras and a session have said beforehand. Among
the requests are bad ones, such with a deadline, and clients that hang up while they
send or wait.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks import models, references
from benchmarks.children import child
from benchmarks.client import run_requests
from benchmarks.mixture import mixture
from benchmarks.report import at_most, conclude, print_machine, print_table
from benchmarks.server import HOST, serving

if TYPE_CHECKING:
    from benchmarks.client import Exchange, Tally
    from benchmarks.report import Target
    from benchmarks.server import Server, Size

MB = 1e6
WARM_UP = 2000
SETTLE_SECONDS = 10.0
MORE_MEMORY = 0.05
"""Of what it was after the warm-up; allocators aren't exact."""
_POLL_SECONDS = 0.1


@click.command()
@click.option("--requests", default=100_000, show_default=True, type=click.IntRange(1))
@click.option("--connections", default=64, show_default=True, type=click.IntRange(1))
def main(requests: int, connections: int) -> None:
    """Send many requests of every kind to one server, and check each answer."""
    print_machine()

    with tempfile.TemporaryDirectory() as scratch:
        targets = _soak(Path(scratch), requests, connections)

    sys.exit(conclude(targets))


def _soak(scratch: Path, requests: int, connections: int) -> list[Target]:
    repository = scratch / "models"
    repository.mkdir()

    with child() as writer:
        files = writer.call(models.write_pair, repository)
        expected = writer.call(references.answer_pair, files)

    exchanges = mixture(expected)
    print(f"{requests:,} requests over {connections} connections")

    with serving(repository, scratch / "cache", scratch / "log") as server:
        _send(server, exchanges, min(WARM_UP, requests), connections)
        _settle(server)
        before = server.size()
        started = time.perf_counter()
        tally = _send(server, exchanges, requests, connections)
        seconds = time.perf_counter() - started
        load = _settle(server)
        after = server.size()

    _print(tally, seconds, before, after, load)
    return _targets(tally, requests, before, after, load)


def _send(
    server: Server, exchanges: list[Exchange], requests: int, connections: int
) -> Tally:
    sending = run_requests(
        (HOST, server.port), exchanges, requests=requests, connections=connections
    )
    return asyncio.run(sending)


def _settle(server: Server) -> dict[str, int]:
    """What the server still holds, once it holds nothing or has had time enough."""
    end = time.monotonic() + SETTLE_SECONDS

    while any((load := server.load()).values()) and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)

    return load


def _print(
    tally: Tally, seconds: float, before: Size, after: Size, load: dict[str, int]
) -> None:
    cuts = statistics.quantiles(tally.seconds, n=1000)
    rows = [
        ("requests a second", f"{len(tally.seconds) / seconds:,.0f}"),
        ("p50, ms", f"{cuts[499] * 1e3:.2f}"),
        ("p99, ms", f"{cuts[989] * 1e3:.2f}"),
        ("p99.9, ms", f"{cuts[998] * 1e3:.2f}"),
        *((f"status {code}", f"{n:,}") for code, n in sorted(tally.statuses.items())),
        *((f"requests: {name}", f"{n:,}") for name, n in sorted(tally.names.items())),
        ("requests: the client hung up", f"{tally.left:,}"),
        ("wrong answers", f"{tally.wrong:,}"),
        ("connections reset", f"{tally.resets:,}"),
        *((f"left over: {name}", f"{n:,}") for name, n in sorted(load.items())),
        ("server threads, before → after", f"{before.threads} → {after.threads}"),
        (
            "server RSS MB, before → after",
            f"{before.resident / MB:.1f} → {after.resident / MB:.1f}",
        ),
    ]
    print_table("Soak, after a warm-up", ("figure", "value"), rows)


def _targets(
    tally: Tally, requests: int, before: Size, after: Size, load: dict[str, int]
) -> list[Target]:
    settled = len(tally.seconds) + tally.left
    grown = after.resident / before.resident - 1
    # A server that doesn't tell hasn't shown that nothing is left.
    left_over = sum(load.values()) if load else math.nan
    return [
        at_most(0, "requests with a status that isn't theirs", tally.failed),
        at_most(0, "requests without an answer", requests - settled),
        at_most(0, "answers with a wrong value", tally.wrong),
        at_most(0, "connections reset", tally.resets),
        at_most(0, "tokens, places and orphans left over", left_over),
        at_most(0, "more threads than before", after.threads - before.threads),
        at_most(MORE_MEMORY, "more memory than before, of it", grown),
    ]


if __name__ == "__main__":
    main()
