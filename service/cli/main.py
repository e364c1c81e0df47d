"""The command line: `tandem serve`, `tandem inspect`, `tandem compile`, and more."""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import click

from inference import Precompilation, precompile
from service.cli.admin import COMMANDS
from service.cli.cache import cache
from service.cli.flags import SettingsCommand, settings_flags
from service.cli.jobs import jobs
from service.cli.keys import keys
from service.cli.predict import predict
from service.cli.top import top
from service.server.server import CannotListen, base_url, run_server
from service.settings.compiler import CompilerSettings
from service.settings.folders import default_cache_dir
from service.settings.permissions import permissions_of
from service.settings.rereading import SettingsReader
from service.settings.settings import (
    Settings,
    SettingsError,
    load_compiler_settings,
    load_settings,
)
from service.terminal.report import (
    DEFAULT_URL,
    as_json,
    print_inspection,
    print_layers,
    print_paths,
    progress,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

EXISTING = click.Path(exists=True, path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tandem-serving", message="%(package)s %(version)s")
def main() -> None:
    """Serve TensorFlow and Keras model files side by side over HTTP."""


for command in (*COMMANDS, cache, jobs, keys, predict, top):
    main.add_command(command)


@contextmanager
def settings_errors_as_usage() -> Iterator[None]:
    try:
        yield
    except SettingsError as exc:
        raise click.UsageError(str(exc)) from None


@main.command(cls=SettingsCommand)
@click.argument("models", required=False, type=EXISTING, metavar="PATH")
@settings_flags(Settings, skip={"models"})
def serve(**flags: Any) -> None:
    """Serve the models in PATH: a folder of model files, or one model.

    Every option can also be set by a variable (TANDEM_PORT=8501) or in the TOML file
    named by --config (port = 8501). Flags override variables, variables the file.
    """
    with settings_errors_as_usage():
        settings = load_settings(**flags)

    try:
        status = run_server(settings, SettingsReader(settings, flags))
    except CannotListen as exc:
        raise click.ClickException(str(exc)) from None

    raise SystemExit(status)


@main.command()
@click.argument("path", type=EXISTING)
@click.option("--json", "for_machines", is_flag=True, help="Print JSON.")
@click.option(
    "--layers", is_flag=True, help="List a Keras model's inner layers with shapes."
)
@click.option(
    "--cache-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder of compiled models.",
)
@settings_flags(CompilerSettings)
def inspect(
    path: Path, for_machines: bool, layers: bool, cache_dir: Path | None, **flags: Any
) -> None:
    """Show the inputs and outputs of a model and how to call it."""
    done = _compile(path, cache_dir or default_cache_dir(), flags)

    if for_machines:
        click.echo(as_json(done))
    elif layers:
        print_layers(done)
    else:
        print_inspection(done, configured_url(path))

    _exit(done)


@main.command("compile")
@click.argument("path", type=EXISTING)
@click.option(
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder for the artifacts; give it to `serve` as --cache-dir.",
)
@settings_flags(CompilerSettings)
def compile_(path: Path, output: Path, **flags: Any) -> None:
    """Compile models ahead of time, for an image or a read-only machine.

    Give the server the same --allow-ops and --allow-classes: otherwise it compiles the
    models again, and refuses them.
    """
    done = _compile(path, output, flags)
    print_paths(done, output)
    _exit(done)


def configured_url(path: Path) -> str:
    """Return the URL at which `tandem serve PATH` without flags would be found."""
    try:
        settings = load_settings(models=path)
    except SettingsError:
        # Of a server that isn't asked for now.
        return DEFAULT_URL

    # A port of 0 is one that nobody knows before.
    fixed = DEFAULT_URL
    if settings.port:
        fixed = base_url(settings.host, settings.port, tls=settings.tls_files)

    return settings.url or fixed


def _compile(path: Path, cache: Path, flags: dict[str, Any]) -> Precompilation:
    with settings_errors_as_usage():
        settings = load_compiler_settings(**flags)
        permissions = permissions_of(settings)

    with progress() as report:
        run = partial(
            precompile,
            timeout_seconds=settings.compile_timeout,
            report=report,
            permissions=permissions,
            memory_limit=settings.compile_memory,
        )
        return anyio.run(run, Path(os.path.abspath(path)), Path(os.path.abspath(cache)))


def _exit(done: Precompilation) -> None:
    """Exit with 1 if a model was refused or none was found."""
    if not done.models or any(model.error for model in done.models):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
