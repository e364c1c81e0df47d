"""The models of a running server as a table for a terminal."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from inference import show_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    Entry = Mapping[str, Any]

HEADINGS = ("name", "version", "state", "labels", "format", "memory", "last use")
FILE_WIDTH = 250
STYLES = {"AVAILABLE": "green", "LOADING": "yellow", "START": "yellow", "END": "dim"}


def print_models(models: Iterable[Entry]) -> None:
    """A row a version of the entries of `GET /v1/models`; below, what is wrong."""
    models = list(models)
    terminal = sys.stdout.isatty()
    console = Console(highlight=False, width=None if terminal else FILE_WIDTH)
    if not models:
        console.print("There is no model.")
        return

    console.print(model_table(models))
    print_problems(problems(models))


def print_problems(lines: Iterable[str]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for line in lines:
        console.print(Text(f"! {printable(line)}", style="yellow"))


def model_table(models: Iterable[Entry]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold")

    for model in models:
        for version in model["versions"]:
            table.add_row(Text(printable(model["name"])), *_cells(version))

    return table


def problems(models: Iterable[Entry]) -> Iterator[str]:
    """Why a version can't answer, or answers with older files."""
    for model in models:
        for version in model["versions"]:
            name = f"{model['name']}/{version['version']}"
            error, update_error = version["error"], version["update_error"]
            if error is not None:
                yield f"{name}: {error}"

            if update_error is not None:
                yield f"{name}: what its files hold now isn't served: {update_error}"


def printable(text: str) -> str:
    """`text` without what would move a terminal's cursor, or worse."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _cells(version: Entry) -> Iterator[Text]:
    failed = version["error"] is not None
    state = "failed" if failed else version["state"]
    yield Text(str(version["version"]))
    yield Text(printable(state), style="red" if failed else STYLES.get(state, ""))
    yield Text(printable(", ".join(version["labels"])))
    yield Text(printable(version["format"] or ""))
    yield Text(_memory(version))
    yield Text(_last_use(version["last_used"]))


def _memory(version: Entry) -> str:
    known = version["memory_bytes"] is not None
    text = show_bytes(version["memory_bytes"]) if known else ""
    return f"{text} pinned".strip() if version["pinned"] else text


def _last_use(moment: str | None) -> str:
    if moment is None:
        return "never"

    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M:%S}"
