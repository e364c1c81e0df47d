"""The start screen: progress while models load, then how to call each."""

from __future__ import annotations

import itertools
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from inference import ModelState
from service.telemetry.log_stream import STANDARD_ERROR
from service.terminal.examples import curl, primary_signature
from service.terminal.tables import answered, tensors

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from rich.console import RenderableType

    from inference import Engine, ModelStatus
    from service.settings.settings import Settings

LOGO = "Tandem"
NO_MODELS = (
    "There is no model in {path}. Put .h5, .keras or .pb files there, or SavedModel "
    "folders{then}."
)


async def show(engine: Engine, settings: Settings) -> None:
    """Show the loading on a terminal, and print the models once all have settled.

    What can't be shown costs nothing else.
    """
    terminal = STANDARD_ERROR.isatty()
    # A progress display redirects `sys.stderr` to itself, and must not write there.
    file = sys.stderr if terminal else STANDARD_ERROR
    console = Console(file=cast("TextIO", file), highlight=False, soft_wrap=True)

    # A terminal that was closed.
    with suppress(OSError):
        if terminal:
            await _follow(engine, console)
        else:
            await _wait_settled(engine)

        console.print(render(engine.models(), engine.problems(), settings))


def is_wanted(settings: Settings) -> bool:
    """Return whether to show it: the URL is known, and a person reads the log."""
    if settings.url is None:
        return False

    return STANDARD_ERROR.isatty() if settings.screen is None else settings.screen


def render(
    models: Iterable[ModelStatus], problems: Iterable[str], settings: Settings
) -> RenderableType:
    """Render all models with format, signature, URL and a command to try."""
    url = settings.url or ""
    title = Text.assemble(
        (f"\n{LOGO} serves at {url}", "bold"),
        f"  (a page in a browser; calls: {url}/docs)\n",
    )
    lines: list[RenderableType] = [title]
    for _, versions in itertools.groupby(models, key=lambda status: status.id.name):
        lines += _model(list(versions), url)

    lines += [Text(f"! {problem}", style="yellow") for problem in problems]

    if len(lines) == 1:
        lines.append(Text(_no_models(settings), style="yellow"))

    return Group(*lines)


def _no_models(settings: Settings) -> str:
    watched = "; the running server will find them"
    then = watched if settings.scan_seconds else ", and restart the server"
    return NO_MODELS.format(path=settings.models, then=then)


async def _wait_settled(engine: Engine) -> None:
    while not engine.ready():
        await engine.wait_changed()


async def _follow(engine: Engine, console: Console) -> None:
    with Live(console=console, transient=True, refresh_per_second=8) as live:
        while not engine.ready():
            live.update(_progress(engine.models()))
            await engine.wait_changed()


def _progress(models: Iterable[ModelStatus]) -> Group:
    return Group(
        *(
            Spinner("dots", Text(f"{_name(status)}  {status.stage}"))
            for status in models
            if status.state in (ModelState.START, ModelState.LOADING)
        )
    )


def _model(versions: list[ModelStatus], url: str) -> list[RenderableType]:
    """Render a model by its newest version that answers, with all errors."""
    answering = [status for status in versions if status.error is None]
    lines = _call(answering, url) if answering else []

    for status in versions:
        if status.error is not None:
            lines.append(Text.assemble(("✗ ", "red"), (_name(status), "bold red")))
            lines.append(Text(f"  {status.error}\n"))

        if status.update_error is not None:
            text = f"! {_name(status)}: its present files aren't served:"
            lines.append(Text(f"{text} {status.update_error}\n", style="yellow"))

    return lines


def _call(versions: list[ModelStatus], url: str) -> list[RenderableType]:
    newest = max(versions, key=lambda status: (bool(status.signatures), status.id))
    title = Text.assemble(("● ", "green"), (newest.id.name, "bold"))
    title.append(f"  {newest.format or newest.state}")
    if len(versions) > 1 or newest.id.version > 1 or newest.labels:
        title.append(f"  {', '.join(map(_version, versions))}")

    # A model without signatures is unloaded, not failed.
    if not newest.signatures:
        return [title, Text("")]

    signature, name = primary_signature(newest.signatures, newest.default_signature)
    target = f"{url}/v1/models/{newest.id.name}:predict"
    inputs = tensors(signature.inputs).replace("\n", ", ")
    given = answered(signature).replace("\n", ", ")
    return [
        title,
        Text(f"  {inputs} → {given}"),
        Text(f"  POST {target}"),
        Text(f"  {curl(target, signature, name=name)}\n", style="cyan"),
        *_default_refused(newest),
    ]


def _default_refused(status: ModelStatus) -> list[RenderableType]:
    default = status.default_signature or ""
    why = status.left_out.get(default)
    text = f"! {status.id.name}: its default signature '{default}' isn't served: {why}"
    return [Text(f"{text}\n", style="yellow")] if why else []


def _name(status: ModelStatus) -> str:
    """Return a model's name, with its version unless that is 1, as most are."""
    return status.id.name if status.id.version == 1 else str(status.id)


def _version(status: ModelStatus) -> str:
    labels = f" ({', '.join(status.labels)})" if status.labels else ""
    return f"version {status.id.version}{labels}"
