"""The command line: `tandem serve`, `tandem inspect`, `tandem compile`, and more."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import click

from inference import Precompilation, precompile
from service.admin_commands import COMMANDS
from service.flags import settings_flags
from service.report import as_json, print_inspection, print_paths, progress
from service.server import CannotListen, run_server
from service.settings import Settings, SettingsError, default_cache_dir, load_settings

EXISTING = click.Path(exists=True, path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tandem-serving", message="%(package)s %(version)s")
def main() -> None:
    """Serve TensorFlow and Keras model files side by side over HTTP."""


for command in COMMANDS:
    main.add_command(command)


@main.command()
@click.argument("models", required=False, type=EXISTING, metavar="PATH")
@settings_flags(Settings, skip={"models"})
def serve(**flags: Any) -> None:
    """Serve the models in PATH: a folder of model files, or one model.

    Every option can be given as a variable, TANDEM_PORT=8501, or in a TOML file that
    --config names, port = 8501. A flag goes before a variable, that before the file.
    """
    try:
        settings = load_settings(**flags)
    except SettingsError as exc:
        raise click.UsageError(str(exc)) from None

    try:
        run_server(settings)
    except CannotListen as exc:
        raise click.ClickException(str(exc)) from None


def compiling(command: Any) -> Any:
    """The options of the commands that compile without serving."""
    timeout = Settings.model_fields["compile_timeout"]
    return click.option(
        "--compile-timeout",
        default=timeout.default,
        show_default=True,
        help=timeout.description,
    )(command)


@main.command()
@click.argument("path", type=EXISTING)
@click.option("--json", "for_machines", is_flag=True, help="Print JSON.")
@click.option(
    "--cache-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where compiled models are kept.",
)
@compiling
def inspect(
    path: Path, for_machines: bool, cache_dir: Path | None, compile_timeout: float
) -> None:
    """Show what a model takes and gives, and how to call it."""
    done = _compile(path, cache_dir or default_cache_dir(), compile_timeout)

    if for_machines:
        click.echo(as_json(done))
    else:
        print_inspection(done)

    _exit(done)


@main.command("compile")
@click.argument("path", type=EXISTING)
@click.option(
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder for the artifacts: what `serve` takes as --cache-dir.",
)
@compiling
def compile_(path: Path, output: Path, compile_timeout: float) -> None:
    """Compile models ahead of time, for an image or a read-only machine."""
    done = _compile(path, output, compile_timeout)
    print_paths(done, output)
    _exit(done)


def _compile(path: Path, cache: Path, timeout: float) -> Precompilation:
    with progress() as report:
        run = partial(precompile, timeout_seconds=timeout, report=report)
        return anyio.run(run, Path(os.path.abspath(path)), Path(os.path.abspath(cache)))


def _exit(done: Precompilation) -> None:
    """A failure for a script to see: a model refused, or nothing found at all."""
    if not done.models or any(model.error for model in done.models):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
