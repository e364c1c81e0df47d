"""A progress bar with rate and time left, on standard error."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Task


class RateColumn(ProgressColumn):
    """The rate: `unit`s per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        known = task.speed is not None
        return Text(f"{task.speed:,.0f} {self._unit}/s" if known else "")


@contextmanager
def bar(
    title: str, unit: str, total: float | None
) -> Iterator[Callable[[float], None]]:
    """Show a bar, and give the function that sets how much is done.

    Nothing is shown where standard error is no terminal.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(unit),
        TimeRemainingColumn(),
    )

    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task(title, total=total)

        def show(done: float) -> None:
            progress.update(task, completed=done)

        yield show
