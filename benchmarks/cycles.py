"""Memory, threads and files that hundreds of loads and unloads of a model leave."""

from __future__ import annotations

import logging
import os
import statistics
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

import anyio
import numpy as np
import structlog

from benchmarks.harness.children import child
from benchmarks.harness.memory import MIB, Usage, usage
from benchmarks.harness.models import Wide, wide_rows
from benchmarks.harness.report import Report, Table, at_least, at_most
from benchmarks.harness.run import say
from inference import Engine, EngineConfig, ModelSpec, PredictRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.harness.report import Figure
    from benchmarks.harness.run import Run

    Keep = Callable[[list[Any], Any], object]

MODEL, WIDE = "wide", Wide(units=1000, seed=1)
HONEST = "nothing"
SLOPE_KIB = 4.0
LEAK_KIB = 10 * SLOPE_KIB
LEAKED_BYTES = 100 * 1024
WARM_SHARE = 1 / 3
"""Of the cycles, that don't count: caches and the C library's heap fill at first."""
COLUMNS = (
    *("kept on purpose", "cycles", "KiB a cycle", "RSS MiB, warm", "last"),
    *("threads, warm", "last", "files, warm", "last"),
)


def measure(run: Run) -> Report:
    """Load and unload one model many times; measure the process afterwards."""
    honest, leaking = (60, 30) if run.quick else (300, 60)
    counts = {leak: honest if leak == HONEST else leaking for leak in LEAKS}
    found = run_cycles(run.folder, WIDE, counts)
    rows = [_row(leak, samples) for leak, samples in found.items()]
    return Report(
        title="Memory over many loads",
        figures=figures(found),
        tables=[Table(title="After each unload", columns=COLUMNS, rows=rows)],
    )


def run_cycles(
    folder: Path, model: Wide, counts: dict[str, int]
) -> dict[str, list[Usage]]:
    """Sample so many cycles of each leak, each leak in a fresh process."""
    (folder / "models").mkdir()
    found = {}

    with child() as writer:
        path = folder / "models" / f"{MODEL}.pb"
        writer.call(model.write_graph, path)

    for leak, cycles in counts.items():
        with child() as process:
            found[leak] = process.call(cycle, folder, model, cycles, leak)

        say(f"{leak}: {kib_a_cycle(found[leak]):+.2f} KiB a cycle")

    return found


def figures(found: dict[str, list[Usage]]) -> list[Figure]:
    """Require that no leak is flat, and that every leak on purpose is seen."""
    slopes = {leak: kib_a_cycle(samples) for leak, samples in found.items()}
    honest = warm(found[HONEST])
    return [
        at_most(SLOPE_KIB, "growth, KiB a cycle", slopes.pop(HONEST)),
        at_most(0, "more threads at the end", _more([one.threads for one in honest])),
        at_most(0, "more open files at the end", _more([one.files for one in honest])),
        *(
            at_least(LEAK_KIB, f"growth where {leak} is kept, KiB a cycle", found)
            for leak, found in slopes.items()
        ),
    ]


def kib_a_cycle(samples: Sequence[Usage]) -> float:
    return slope([each.resident / 1024 for each in warm(samples)])


def slope(values: Sequence[float]) -> float:
    """Return the growth from one value to the next, by the line of least squares."""
    return float(np.polyfit(np.arange(len(values)), values, 1)[0])


def warm(samples: Sequence[Usage]) -> Sequence[Usage]:
    return samples[round(len(samples) * WARM_SHARE) :]


def _row(leak: str, samples: Sequence[Usage]) -> tuple[str | float, ...]:
    first, last = warm(samples)[0], samples[-1]
    return (
        leak,
        len(samples),
        kib_a_cycle(samples),
        *(first.resident / MIB, last.resident / MIB),
        *(first.threads, last.threads, first.files, last.files),
    )


def _more(counts: Sequence[int]) -> float:
    """Compare the last third to the first: single ones may come and go."""
    third = max(1, len(counts) // 3)
    return statistics.median(counts[-third:]) - statistics.median(counts[:third])


def cycle(folder: Path, model: Wide, cycles: int, leak: str) -> list[Usage]:
    """Sample this process after each cycle; `leak` is one of `LEAKS`.

    Raises `AssertionError` on a wrong answer.
    """
    wrapper = structlog.make_filtering_bound_logger(logging.ERROR)
    structlog.configure(wrapper_class=wrapper)

    with _leaking(LEAKS[leak]):
        return anyio.run(_cycle, folder, model, cycles)


async def _cycle(folder: Path, model: Wide, cycles: int) -> list[Usage]:
    config = EngineConfig(repository=folder / "models", cache=folder / "cache")
    spec = ModelSpec(name=MODEL)
    request = PredictRequest(model=spec, inputs={"values": wide_rows()})
    expected = model.answers()
    samples = []

    async with Engine(config) as engine:
        while not engine.ready():
            await engine.wait_changed()

        for _ in range(cycles):
            await engine.load(spec)
            [answer] = (await engine.predict(request)).outputs.values()
            np.testing.assert_allclose(answer, expected, rtol=1e-3, atol=1e-3)
            await engine.unload(spec)
            samples.append(usage())

    return samples


@contextmanager
def _leaking(keep: Keep) -> Iterator[None]:
    """Keep something of each servable that is closed."""
    from inference.runtime.servable import Servable

    kept: list[Any] = []
    close = Servable.close

    def leaking(self: Servable) -> None:
        keep(kept, self)
        close(self)

    with mock.patch.object(Servable, "close", leaking):
        yield


def _keep_nothing(kept: list[Any], servable: Any) -> None:
    pass


def _keep_bytes(kept: list[Any], servable: Any) -> None:
    """Keep a little, as a model with a cache of its own might."""
    kept.append(os.urandom(LEAKED_BYTES))


def _keep_graph(kept: list[Any], servable: Any) -> None:
    """Keep the graph, as a single forgotten reference would."""
    kept.append(servable._session.graph)


def _keep_session(kept: list[Any], servable: Any) -> None:
    """Keep the session, with weights and threads, as if never closed."""
    kept.append(servable._session)
    servable._session = None


LEAKS: dict[str, Keep] = {
    HONEST: _keep_nothing,
    f"{LEAKED_BYTES // 1024} KiB": _keep_bytes,
    "its graph": _keep_graph,
    "its session": _keep_session,
}
