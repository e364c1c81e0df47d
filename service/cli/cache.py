"""The commands for a folder of compiled models: `tandem cache list` and `prune`."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import ByteSize, TypeAdapter, ValidationError

from inference import disk_bytes, inventory, prune, show_bytes
from service.cli.admin import REFUSED, CommandFailed
from service.settings.settings import default_cache_dir
from service.settings.values import byte_size
from service.terminal.tables import print_artifacts

if TYPE_CHECKING:
    from collections.abc import Callable

DAY_SECONDS = 86400.0


class Size(click.ParamType[int]):
    """A number of bytes, such as 10GiB."""

    name = "size"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        try:
            return TypeAdapter(ByteSize).validate_python(byte_size(value))
        except ValidationError:
            self.fail(f"{value!r} is no size; write 10GiB, or 500MB", param, ctx)


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
    type=click.FloatRange(min=0),
    metavar="DAYS",
    help="Remove what wasn't used for so many days.",
)
@click.option(
    "--max-bytes",
    type=Size(),
    metavar="SIZE",
    help="Remove the least recently used until the rest takes at most this.",
)
@click.option("--unused", is_flag=True, help="Remove all that no server uses now.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def prune_(
    cache_dir: Path,
    older_than: float | None,
    max_bytes: int | None,
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
    age = float("-inf") if unused else older_than and older_than * DAY_SECONDS
    before = disk_bytes(_read(cache_dir))
    removed = prune(
        cache_dir,
        now=time.time(),
        unused_seconds=age,
        max_bytes=max_bytes,
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
