"""Servers under load, side by side: throughput, tails, overload, fairness."""

from __future__ import annotations

import shutil
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.load import servers, workloads
from benchmarks.load.campaign import Campaign
from benchmarks.load.figures import targets
from benchmarks.load.generator import generating
from benchmarks.load.measuring import Meter
from benchmarks.load.pages import print_results, write_page
from benchmarks.load.peers import environments
from benchmarks.load.results import Results, read_results
from benchmarks.load.self_check import generator_rate
from benchmarks.load.workbench import prepare
from benchmarks.report import PACKAGES, about_machine, conclude

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.load.servers import Server

QUICK_SECONDS = 1.0
OURS = ("uvloop", "httptools", "pysimdjson", "orjson", "anyio")
PATH = click.Path(path_type=Path, file_okay=False)
PEERS = [server.name for server in servers.PEERS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line said."""

    seconds: float
    rounds: int
    quick: bool
    peers: list[str]
    peers_home: Path
    only: list[str]
    server_cpu: list[int]
    client_cpu: list[int]
    tandem: str
    work: Path | None
    output: Path | None

    def chosen(self) -> list[Server]:
        """The peers that were asked for, installed or not."""
        return [servers.NAMES[name] for name in self.peers]


def names_of(known: list[str]) -> Any:
    """A callback: names between commas, all of them known."""

    def split(context: click.Context, option: click.Parameter, text: str) -> list[str]:
        names = [name for name in text.split(",") if name]
        unknown = [name for name in names if name not in known]

        if unknown:
            raise click.BadParameter(
                f"{', '.join(unknown)}: choose from {', '.join(known)}."
            )

        return names

    return split


def numbers(context: click.Context, option: click.Parameter, text: str) -> list[int]:
    """A callback: CPUs between commas."""
    return [int(number) for number in text.split(",")]


@click.command()
@click.option("--seconds", default=3.0, show_default=True, help="How long a point is.")
@click.option(
    "--rounds",
    default=3,
    show_default=True,
    type=click.IntRange(1),
    help="How often ours and the bound are measured; medians are shown.",
)
@click.option("--quick", is_flag=True, help="One round of 1 s: to see that it works.")
@click.option(
    "--peers",
    default=",".join(PEERS),
    show_default=True,
    callback=names_of(PEERS),
    help="Who else is measured; '' for nobody. Whoever isn't installed is skipped.",
)
@click.option(
    "--peers-home",
    type=PATH,
    default=environments.default_home,
    show_default="~/.cache/tandem-peers",
    help="Where `python -m benchmarks.load.peers install` put them.",
)
@click.option(
    "--only",
    default=",".join(workloads.NAMES),
    show_default=True,
    callback=names_of(list(workloads.NAMES)),
    help="The workloads.",
)
@click.option("--server-cpu", default="0", show_default=True, callback=numbers)
@click.option(
    "--client-cpu",
    default="1",
    show_default=True,
    callback=numbers,
    help="Several, as 1,2,3, make a generator each.",
)
@click.option(
    "--tandem",
    default=f"{Path(sys.executable).with_name('tandem')}",
    help="The command that starts ours, with flags of its own; `serve` comes after.",
)
@click.option("--work", type=PATH, help="Keep models and logs here.")
@click.option("--output", type=PATH, help="Write the page, plots and JSON here.")
@click.option("--redraw", is_flag=True, help="From the JSON there, without measuring.")
def main(redraw: bool, **given: Any) -> None:
    """Compare servers of the same models under the same load, in one run."""
    options = Options(**given)

    if redraw:
        results = read_results(_required(options.output))
    else:
        results = _measure(options)

    if options.output is not None:
        write_page(results, options.output)

    print_results(results)
    sys.exit(conclude(targets(results)))


def _required(output: Path | None) -> Path:
    if output is None:
        raise click.UsageError("--redraw needs --output, the folder of the results.")

    return output


def _measure(options: Options) -> Results:
    results = Results(about=about_machine((*PACKAGES, *OURS)))
    results.notes.append(
        f"server on CPU {_joined(options.server_cpu)}, generator on "
        f"{_joined(options.client_cpu)}"
    )
    peers = _present(options, results)

    for name, text in results.about.items():
        print(f"{name}: {text}", flush=True)

    with _folder(options.work) as folder:
        _run(options, results, peers, folder)

    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        results.write(options.output)

    return results


def _run(options: Options, results: Results, peers: list[Server], folder: Path) -> None:
    bench = prepare(
        folder,
        peers=options.peers_home.resolve(),
        tandem=options.tandem,
        server_cpus=options.server_cpu,
        client_cpus=options.client_cpu,
    )
    seconds = QUICK_SECONDS if options.quick else options.seconds

    with generating(options.client_cpu) as generator:
        results.generator_rate = generator_rate(
            generator, options.server_cpu, seconds, bench.logs / "self-check.log"
        )
        print(f"generator: {results.generator_rate:,.0f} requests/s", flush=True)
        meter = Meter(generator=generator, results=results, seconds=seconds)
        Campaign(
            bench=bench,
            meter=meter,
            peers=peers,
            only=options.only,
            rounds=1 if options.quick else options.rounds,
        ).run()


def _present(options: Options, results: Results) -> list[Server]:
    """The peers that can be started; a note about each other."""
    present = []

    for server in options.chosen():
        if not server.available(options.peers_home):
            results.notes.append(f"`{server.name}` was skipped: it isn't installed.")
            continue

        present.append(server)

        if server.environment is not None:
            found = environments.version(options.peers_home, server.environment)
            results.versions[server.name] = found

    return present


def _joined(cpus: list[int]) -> str:
    return ", ".join(map(str, cpus))


@contextmanager
def _folder(work: Path | None) -> Iterator[Path]:
    """`work`, or one that is removed at the end."""
    folder = work or Path(tempfile.mkdtemp(prefix="tandem-bench-"))

    try:
        yield folder.resolve()
    finally:
        if work is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
