"""Many requests of every kind to one server: errors, and leaks afterwards.

100,000 turns over 64 connections to one `tandem serve`: a dense `.h5` and a `.pb`, one
to three rows each, in a random order with `GET`s of other routes, bad requests (each
must be 400), deadlines of 0.5 to 50 ms (504, 429 or the right answer), and clients that
hang up while they send or wait, send slowly, close their side once they have sent,
offer another protocol (h2c), or send three requests ahead. Each answer is compared with
that of Keras or of a session. Client and server share the CPUs, so latencies are those
of a saturated machine.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.harness import models
from benchmarks.harness.children import child
from benchmarks.harness.client import Tally, run_requests
from benchmarks.harness.clocks import percentile, wait_until
from benchmarks.harness.exchanges import (
    Exchange,
    Leave,
    Manner,
    get,
    predict_path,
    predictions,
    rounded,
)
from benchmarks.harness.memory import MB, Usage, usage
from benchmarks.harness.report import Report, Table, at_most
from benchmarks.harness.run import say
from benchmarks.harness.servers import serving_models

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.harness.report import Figure
    from benchmarks.harness.run import Run
    from benchmarks.harness.servers import Server
    from inference.types import Array

    Predictions = dict[str, list[Exchange]]

CONNECTIONS = 64
WARM_UP = 2000
SETTLE_SECONDS = 10.0
MORE_MEMORY = 0.05
"""Of the memory after the warm-up; allocators aren't exact."""
GAUGES = {"running", "waiting", "queued", "orphans", "leases", "tokens"}
"""Counts that a server at rest has at 0."""

TOLERANCE = 1e-5
SIZES, VARIETY = (1, 2, 3), 40
"""Rows a request, and requests of each size."""
SIZE = 4096
"""Requests of the mixture, before they begin again."""
SHARES = {
    **{"predict": 67, "get": 6, "bad": 6, "deadline": 6, "leave": 7},
    **{"slow": 2, "half-closed": 2, "upgrade": 2, "pipelined": 2},
}
"""Of a hundred requests."""
LEAST_WAIT, MOST_WAIT = 0.0005, 0.05
"""Seconds that an impatient client gives a request, or waits before it leaves."""
UPGRADE = (
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
)
"""Headers that Java's client sends by default."""
BAD = (
    b'{"instances": [[1.0, 2.0], [3.0]]}',
    b'{"instances": [["a"]]}',
    b'{"instances": 1}',
    b'{"instances": [[1.0, 2.0]]}',
    b'{"rows": [[1.0]]}',
    b'{"instances": [[',
    b"",
)


def measure(run: Run) -> Report:
    """Send many requests of every kind to one server, and check each answer."""
    return soak(run.folder, 6000 if run.quick else 100_000, CONNECTIONS)


def soak(folder: Path, requests: int, connections: int) -> Report:
    """Send so many requests to a server of the models that are made in `folder`."""
    exchanges = mixture(_predictions(folder / "models"))

    def send(requests: int) -> Tally:
        return asyncio.run(
            run_requests(
                server.port, exchanges, requests=requests, connections=connections
            )
        )

    with serving_models(folder, "--log-level", "warning") as server:
        send(min(WARM_UP, requests))
        _settle(server)
        before = _usage(server)
        say(f"warm; {requests:,} requests over {connections} connections")
        started = time.perf_counter()
        tally = send(requests)
        seconds = time.perf_counter() - started
        left_over = _settle(server)
        after = _usage(server, before.files)

    return Report(
        title="Soak",
        figures=[*_failures(tally, requests), *_leaks(left_over, before, after)],
        tables=[_table(tally, seconds, left_over, {"before": before, "after": after})],
        notes=[f"unexpected: {n:,} times {what}" for what, n in tally.failed.items()],
    )


def _usage(server: Server, files: int = 0) -> Usage:
    """Read the server's usage, once it has closed all but `files` or after time."""
    process = server.process.pid
    wait_until(lambda: usage(process).files <= files, SETTLE_SECONDS if files else 0)
    return usage(process)


def _settle(server: Server) -> dict[str, int]:
    """Return the server's gauges once all are 0, or after time enough."""

    def settled() -> bool:
        gauges.clear()
        gauges.update(gauges_of(server.get("/v1/models").json()))
        gauges["body bytes"] = _body_bytes(server.get("/metrics").text)
        return not any(gauges.values())

    gauges: dict[str, int] = {}
    wait_until(settled, SETTLE_SECONDS)
    return gauges


def _body_bytes(metrics: str) -> int:
    """Return the bytes of bodies that a server holds, -1 if it doesn't tell."""
    found = re.search(r"^tandem_bodies_bytes (\S+)$", metrics, re.MULTILINE)
    return int(float(found[1])) if found else -1


def gauges_of(document: Any) -> Counter[str]:
    """Sum the gauges of all versions by name, without limits and averages."""
    sums: Counter[str] = Counter()

    for model in document["models"]:
        for version in model.get("versions", ()):
            load = version["load"]
            sums.update({name: load[name] for name in GAUGES & load.keys()})

    return sums


def _failures(tally: Tally, requests: int) -> list[Figure]:
    settled = len(tally.seconds) + tally.left
    return [
        at_most(0, "requests with an unexpected status", tally.failed.total()),
        at_most(0, "requests without an answer", requests + tally.copies - settled),
        at_most(0, "answers with a wrong value", tally.wrong),
        at_most(0, "connections reset", tally.resets),
    ]


def _leaks(left_over: dict[str, int], before: Usage, after: Usage) -> list[Figure]:
    # A server that doesn't tell hasn't shown that nothing is left.
    told = left_over.keys() >= GAUGES - {"queued", "leases"}
    total = sum(map(abs, left_over.values())) if told else math.nan
    grown = after.resident / before.resident - 1
    return [
        at_most(0, "tokens, places, orphans and bytes of bodies left over", total),
        at_most(0, "more threads than before", after.threads - before.threads),
        at_most(0, "more open files than before", after.files - before.files),
        at_most(MORE_MEMORY, "more memory than before, of it", grown),
    ]


def _table(
    tally: Tally, seconds: float, left_over: dict[str, int], usages: dict[str, Usage]
) -> Table:
    taken = np.asarray(tally.seconds)
    values = {
        "requests a second": len(taken) / seconds,
        **{f"p{n:g}, ms": percentile(taken, n) or np.nan for n in (50, 99, 99.9)},
        **{f"status {code}": n for code, n in sorted(tally.statuses.items())},
        **{f"requests: {name}": n for name, n in sorted(tally.names.items())},
        "requests: the client hung up": tally.left,
        **{f"left over: {name}": n for name, n in left_over.items()},
    }
    for when, each in usages.items():
        values[f"server threads {when}"] = each.threads
        values[f"server open files {when}"] = each.files
        values[f"server RSS MB {when}"] = each.resident / MB

    rows = [*values.items()]
    return Table(title="After a warm-up", columns=("figure", "value"), rows=rows)


def _predictions(repository: Path) -> Predictions:
    """Write two models; make as many requests of each size to either."""
    repository.mkdir()
    rows = rounded(models.rows_for((32,), VARIETY * sum(SIZES)))

    with child() as writer:
        files = writer.call(models.write_pair, repository)
        answers = {
            "dense": writer.call(models.answer_keras, files["dense"], rows),
            "graph": writer.call(models.answer_graph, files["graph"], rows),
        }

    return {name: list(_asking(name, rows, each)) for name, each in answers.items()}


def _asking(name: str, rows: Array, answers: Array) -> Iterator[Exchange]:
    start = 0

    for size in SIZES:
        part = slice(start, start := start + VARIETY * size)
        given = (rows[part], answers[part], predict_path(name))

        for exchange in predictions(*given, size=size, tolerance=TOLERANCE):
            yield replace(exchange, name=f"{name} predict")


def mixture(good: Predictions, seed: int = 7) -> list[Exchange]:
    """Mix `SIZE` requests in a seeded order from each model's good ones."""
    random = Random(seed)
    every = [exchange for exchanges in good.values() for exchange in exchanges]
    gets = list(_gets(list(good)))
    kinds = random.choices(list(SHARES), list(SHARES.values()), k=SIZE)
    return [
        random.choice(gets)
        if kind == "get"
        else _CHANGES[kind](random, random.choice(every))
        for kind in kinds
    ]


def _gets(names: list[str]) -> Iterator[Exchange]:
    yield get("/livez")
    yield get("/v1/models", b'"')

    for name in names:
        yield get(f"/v1/models/{name}", b"AVAILABLE")
        yield get(f"/v1/models/{name}/metadata", name.encode())


def _unchanged(random: Random, prediction: Exchange) -> Exchange:
    return prediction


def _bad(random: Random, prediction: Exchange) -> Exchange:
    return replace(
        prediction,
        name="bad request",
        body=random.choice(BAD),
        right=_never,
        allowed=frozenset({400}),
    )


def _impatient(random: Random, prediction: Exchange) -> Exchange:
    return replace(
        prediction,
        name="with a deadline",
        headers=f"Prefer: wait={_wait(random):.4f}\r\n",
        # 429: refused at once, as it could not run in its time.
        allowed=frozenset({200, 429, 504}),
    )


def _leaving(random: Random, prediction: Exchange) -> Exchange:
    """Hang up while waiting, or as often before the request is sent."""
    size = len(prediction.request)
    sent = random.choice((size, random.randrange(1, size)))
    leave = Leave(sent=sent, seconds=_wait(random) - LEAST_WAIT)
    return replace(prediction, name="left", leave=leave)


def _upgrading(random: Random, prediction: Exchange) -> Exchange:
    return replace(prediction, name="offers an upgrade", headers=UPGRADE)


def _sent(manner: Manner, random: Random, prediction: Exchange) -> Exchange:
    return replace(prediction, name=manner.value, manner=manner)


def _wait(random: Random) -> float:
    # Short ones as often as long ones.
    return math.exp(random.uniform(math.log(LEAST_WAIT), math.log(MOST_WAIT)))


def _never(body: bytes) -> bool:
    """Refuse every answer, as a bad request has no right one."""
    return False


_CHANGES: dict[str, Callable[[Random, Exchange], Exchange]] = {
    "predict": _unchanged,
    "bad": _bad,
    "deadline": _impatient,
    "leave": _leaving,
    "upgrade": _upgrading,
    **{manner.value: partial(_sent, manner) for manner in Manner},
}
