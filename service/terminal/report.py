"""The output of `tandem inspect` and `tandem compile`."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from service.terminal.examples import curl, primary_signature
from service.terminal.tables import (
    FILE_WIDTH,
    layer_table,
    model_facts,
    signature_table,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from inference import ModelId, Precompilation, Precompiled

DEFAULT_URL = "http://127.0.0.1:8501"
INDENT = (0, 0, 0, 2)
NO_MODEL = (
    "There is no model here: give a model file, a SavedModel's folder, or a folder that"
    " holds some, each by itself or in folders named 1, 2, 3 …"
)


@contextmanager
def progress() -> Iterator[Callable[[ModelId, str], None]]:
    """Show a spinner on standard error with the model and stage at work."""
    console = Console(file=sys.stderr)

    with console.status("looking for models") as status:
        yield lambda model, stage: status.update(escape(f"{model.name}: {stage}"))


def print_inspection(done: Precompilation, url: str = DEFAULT_URL) -> None:
    """Print each model: its source, its inputs and outputs, how to call it at `url`."""
    terminal = sys.stdout.isatty()
    console = Console(
        highlight=False,
        soft_wrap=not terminal,
        # Names that are folded can't be copied, nor found by grep.
        width=None if terminal else FILE_WIDTH,
    )

    for model in done.models:
        console.print(Text(f"\n{model.id.name}", style="bold"))

        for name, value in model_facts(model):
            style = "red" if name == "error" else "dim" if name == "note" else ""
            console.print(Text(f"  {name:9}{value}", style=style))

        _print_calls(console, model, url)

    _print_problems(console, done)


def print_layers(done: Precompilation) -> None:
    """Print the inner outputs that each model's sidecar may name in `layers`."""
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())

    for model in done.models:
        console.print(Text(f"\n{model.id.name}", style="bold"))

        if model.manifest is None:
            console.print(Text(f"  {model.error}", style="red"))
        elif model.manifest.layers:
            console.print(Padding(layer_table(model), INDENT))
        else:
            console.print("  It has no layers to name: only Keras files do.")

    _print_problems(console, done)


def print_paths(done: Precompilation, output: Path) -> None:
    """Print a line for each model: its artifact, or why there is none."""
    console = Console(highlight=False, soft_wrap=True)

    for model in done.models:
        if model.error is not None:
            console.print(Text(f"{model.id.name}: {model.error}", style="red"))
        else:
            how = "compiled" if model.fresh else "already there"
            console.print(Text(f"{model.id.name}: {how}, {model.folder}"))

    _print_problems(console, done)

    if all(model.error is None for model in done.models):
        console.print(Text(f"Serve with: tandem serve PATH --cache-dir {output}"))


def as_json(done: Precompilation) -> str:
    """Return JSON: `models`, each with its manifest or error, and `problems`."""
    document = {
        "models": [_entry(model) for model in done.models],
        "problems": done.problems,
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()


def _print_calls(console: Console, model: Precompiled, server: str) -> None:
    if model.manifest is None:
        return

    default = model.manifest.default_signature
    first, _ = primary_signature(model.signatures, default)
    signatures = {first.name: first, **model.signatures}
    table = signature_table(signatures.values(), default)
    console.print(Padding(table, (1, 0, 1, 2)))

    for name, signature in signatures.items():
        url = f"{server}/v1/models/{model.id.name}:predict"
        command = curl(url, signature, name=None if name == default else name)
        console.print(Text(f"  {command}", style="cyan"), soft_wrap=True)


def _print_problems(console: Console, done: Precompilation) -> None:
    for problem in done.problems:
        console.print(Text(f"! {problem}", style="yellow"))

    if not done.models and not done.problems:
        console.print(Text(NO_MODEL, style="yellow"))


def _entry(model: Precompiled) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": model.id.name,
        "version": model.id.version,
        "path": str(model.path),
    }

    if model.manifest is None:
        return {**entry, "error": model.error}

    manifest = model.manifest.model_dump(exclude={"weights"})
    return {**entry, "artifact": str(model.folder), "manifest": manifest}
