"""The commands for a folder of compiled models: `tandem cache list` and `prune`."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inference import disk_bytes, inventory, prune, show_bytes
from service.cli.admin import REFUSED, CommandFailed
from service.settings.folders import default_cache_dir
from service.settings.quantities import seconds, size
from service.terminal.tables import print_artifacts

if TYPE_CHECKING:
    from collections.abc import Callable


class Quantity(click.ParamType[float]):
    """A size or a duration, as settings take them."""

    def __init__(self, name: str, read: Callable[[object], object]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        try:
            found = self._read(value)
        except ValueError as exc:
            self.fail(f"{value!r} {exc}", param, ctx)

        if isinstance(found, int | float) and found >= 0:
            return found

        self.fail(f"{value!r} must be 0 or more", param, ctx)


def cache_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--cache-dir",
        type=click.Path(file_okay=False, exists=True, path_type=Path),
        envvar="TANDEM_CACHE_DIR",
        default=default_cache_dir,
        help="The folder of compiled models. [TANDEM_CACHE_DIR]",
    )(command)


@click.group()
def cache() -> None:
    """Show and remove compiled models; servers may run meanwhile."""


@cache.command("list")
@cache_option
@click.option("--json", "for_machines", is_flag=True, help="Print JSON.")
def list_(cache_dir: Path, for_machines: bool) -> None:
    """List the compiled models, least recently used first."""
    artifacts = _read(cache_dir)
    total = disk_bytes(artifacts)

    if for_machines:
        entries = [asdict(each) | {"folder": str(each.folder)} for each in artifacts]
        click.echo(json.dumps({"bytes": total, "artifacts": entries}, indent=2))
        return

    print_artifacts(artifacts)
    click.echo(f"{len(artifacts)} in {cache_dir}, {show_bytes(total)} together")


@cache.command("prune")
@cache_option
@click.option(
    "--older-than",
    type=Quantity("age", seconds),
    help="Remove what wasn't used for so long, such as 30d.",
)
@click.option(
    "--max-bytes",
    type=Quantity("size", size),
    help="Remove the least recently used until the rest takes at most this.",
)
@click.option("--unused", is_flag=True, help="Remove all that no server uses now.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def prune_(
    cache_dir: Path,
    older_than: float | None,
    max_bytes: float | None,
    unused: bool,
    dry_run: bool,
) -> None:
    """Remove compiled models that no running server uses.

    They are compiled again when they are needed.
    """
    if older_than is None and max_bytes is None and not unused:
        raise click.UsageError(
            "say what to remove: --older-than, --max-bytes or --unused"
        )

    # What was used a moment ago has a later time than now on another machine's clock.
    age = float("-inf") if unused else older_than
    before = disk_bytes(_read(cache_dir))
    removed = prune(
        cache_dir,
        now=time.time(),
        unused_seconds=age,
        max_bytes=None if max_bytes is None else int(max_bytes),
        dry=dry_run,
    )
    print_artifacts(removed)
    verb = "would be removed" if dry_run else "removed"
    click.echo(f"{len(removed)} {verb} of {show_bytes(before)} in {cache_dir}")


def _read(cache_dir: Path) -> Any:
    try:
        return inventory(cache_dir)
    except OSError as exc:
        raise CommandFailed(f"{cache_dir}: {exc.strerror}", REFUSED) from None
