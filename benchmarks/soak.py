"""Many requests over connections kept alive: every answer 200, and the right one.

The server is `uvicorn asgi:app` in a process of its own, with a dense `.h5` and a
frozen `.pb`; what they must answer, Keras and a session have said beforehand.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks import models, references
from benchmarks.children import child
from benchmarks.client import get, post, run_requests
from benchmarks.report import at_most, conclude, print_machine, print_table
from benchmarks.server import HOST, serving

if TYPE_CHECKING:
    from benchmarks.client import Exchange, Tally
    from benchmarks.references import Reference
    from benchmarks.report import Target
    from benchmarks.server import Server, Size

TOLERANCE = 1e-5
MB = 1e6
WARM_UP = 1000
GETS_EVERY = 16
"""One request in this many asks for something other than a prediction."""


@click.command()
@click.option("--requests", default=100_000, show_default=True, type=click.IntRange(1))
@click.option("--connections", default=64, show_default=True, type=click.IntRange(1))
def main(requests: int, connections: int) -> None:
    """Send many requests over kept connections to one server, and check each answer."""
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

    exchanges = _mix(expected)
    print(f"{requests:,} requests over {connections} connections")

    with serving(repository, scratch / "cache", scratch / "log") as server:
        _send(server, exchanges, min(WARM_UP, requests), connections)
        before = server.size()
        started = time.perf_counter()
        tally = _send(server, exchanges, requests, connections)
        seconds = time.perf_counter() - started
        after = server.size()

    _print(tally, seconds, before, after)
    return _targets(tally, requests)


def _mix(expected: dict[str, list[Reference]]) -> list[Exchange]:
    """Predictions of both models by turns, with other routes in between."""
    predictions = [
        _prediction(name, reference)
        for pair in zip(*expected.values(), strict=True)
        for name, reference in zip(expected, pair, strict=True)
    ]
    gets = itertools.cycle(_gets(list(expected)))
    mixed: list[Exchange] = []

    for exchange in predictions:
        if len(mixed) % GETS_EVERY == GETS_EVERY - 1:
            mixed.append(next(gets))

        mixed.append(exchange)

    return mixed


def _prediction(name: str, reference: Reference) -> Exchange:
    rows, wanted = reference
    body = json.dumps({"instances": rows}).encode()
    right = partial(_is_prediction, wanted)
    return post(f"{name} predict", f"/v1/models/{name}:predict", body, right)


def _gets(names: list[str]) -> list[Exchange]:
    pages = [("/livez", b""), ("/v1/models", b'"')]
    pages += [(f"/v1/models/{name}", b"AVAILABLE") for name in names]
    pages += [(f"/v1/models/{name}/metadata", name.encode()) for name in names]
    return [get("GET", path, partial(_holds, text)) for path, text in pages]


def _is_prediction(wanted: list[float], body: bytes) -> bool:
    rows = json.loads(body)["predictions"]
    return len(rows) == len(wanted) and all(
        math.isclose(row[0], value, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        for row, value in zip(rows, wanted, strict=True)
    )


def _holds(text: bytes, body: bytes) -> bool:
    return text in body


def _send(
    server: Server, exchanges: list[Exchange], requests: int, connections: int
) -> Tally:
    sending = run_requests(
        (HOST, server.port), exchanges, requests=requests, connections=connections
    )
    return asyncio.run(sending)


def _print(tally: Tally, seconds: float, before: Size, after: Size) -> None:
    cuts = statistics.quantiles(tally.seconds, n=1000)
    rows = [
        ("requests a second", f"{len(tally.seconds) / seconds:,.0f}"),
        ("p50, ms", f"{cuts[499] * 1e3:.2f}"),
        ("p99, ms", f"{cuts[989] * 1e3:.2f}"),
        ("p99.9, ms", f"{cuts[998] * 1e3:.2f}"),
        *((f"status {code}", f"{n:,}") for code, n in sorted(tally.statuses.items())),
        *((f"requests: {name}", f"{n:,}") for name, n in sorted(tally.names.items())),
        ("wrong answers", f"{tally.wrong:,}"),
        ("connections reset", f"{tally.resets:,}"),
        ("server threads, before → after", f"{before.threads} → {after.threads}"),
        (
            "server RSS MB, before → after",
            f"{before.resident / MB:.1f} → {after.resident / MB:.1f}",
        ),
    ]
    print_table("Soak, after a warm-up", ("figure", "value"), rows)


def _targets(tally: Tally, requests: int) -> list[Target]:
    fine = tally.statuses.get(200, 0)
    return [
        at_most(0, "requests not answered with 200", requests - fine),
        at_most(0, "answers with a wrong value", tally.wrong),
        at_most(0, "connections reset", tally.resets),
    ]


if __name__ == "__main__":
    main()
