"""Runs the benchmarks: `python -m benchmarks [NAME…]`; exits with 1 on a miss."""

from __future__ import annotations

import inspect
import sys
import tempfile
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks.harness.report import about_run, print_figures
from benchmarks.harness.run import Run, default_peers, say
from benchmarks.load.contenders import PEERS

if TYPE_CHECKING:
    from benchmarks.harness.report import Report

BENCHMARKS = {
    name: f"benchmarks.{name}"
    for name in (
        *("calls", "request", "memory", "soak", "reload", "cycles", "budget"),
        *("bulk", "images", "binary", "tabs", "crashes"),
    )
} | {"load": "benchmarks.load.campaign"}
"""Modules with a function `measure` from a `Run` to a `Report`."""
PAGES = {"load": "README.md"}
"""Other pages have their benchmark's name."""
RESULTS = Path(__file__).with_name("results")
PATH = click.Path(path_type=Path, file_okay=False)


def _peers(context: click.Context, option: click.Parameter, text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    unknown = set(names) - {peer.name for peer in PEERS}

    if unknown:
        known = ", ".join(peer.name for peer in PEERS)
        raise click.BadParameter(f"{', '.join(sorted(unknown))}: choose from {known}.")

    return names


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)))
@click.option("--quick", is_flag=True, help="Short runs: to see that all works.")
@click.option("--publish", type=PATH, help="Write pages and plots into this folder.")
@click.option(
    "--peers",
    default=",".join(peer.name for peer in PEERS),
    show_default=True,
    callback=_peers,
    help="The other servers of `load`, '' for none. One that isn't installed is left "
    "out.",
)
@click.option(
    "--peers-home",
    type=PATH,
    default=default_peers,
    show_default="~/.cache/tandem-peers",
    help="The folder that `python -m benchmarks.peers` installs them into.",
)
def main(
    names: tuple[str, ...],
    quick: bool,
    publish: Path | None,
    peers: list[str],
    peers_home: Path,
) -> None:
    """Measure all, or those named; print each figure beside its target."""
    reports = []

    for name in names or BENCHMARKS:
        with tempfile.TemporaryDirectory(prefix="tandem-bench-") as scratch:
            run = Run(
                folder=Path(scratch).resolve(),
                quick=quick,
                peers=tuple(peers),
                peers_home=peers_home.resolve(),
            )
            report = _measure(name, run)

        report.save(RESULTS / f"{name}.json")
        reports.append(report)

        if publish is not None:
            report.publish(publish / PAGES.get(name, f"{name}.md"))

    print_figures(reports)
    figures = [figure for report in reports for figure in report.figures]
    sys.exit(not all(figure.passed for figure in figures))


def _measure(name: str, run: Run) -> Report:
    about = about_run()
    say(f"{name}: {about['date']}, {about['machine']}")
    module = import_module(BENCHMARKS[name])
    report: Report = module.measure(run)
    introduction = report.introduction or inspect.getdoc(module) or ""
    return replace(report, about=about, introduction=introduction)


if __name__ == "__main__":
    main()
