"""Command-line flags, generated from the settings."""

from __future__ import annotations

from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import click
from pydantic_core import PydanticUndefined

from service.settings.compiler import PREFIX
from service.settings.groups import GROUPS
from service.settings.quantities import memory, seconds, size

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

METAVARS = {
    int: "N",
    float: "SECONDS",
    str: "TEXT",
    Path: "PATH",
    tuple: "A,B",
}


def duration(context: click.Context, option: click.Parameter, value: str) -> float:
    """Read a flag such as `30` or `30s`: click's callback for it."""
    try:
        converted = float(str(seconds(value)))
    except ValueError as exc:
        raise click.BadParameter(f"{value!r} {exc}", context, option) from None

    if converted <= 0:
        raise click.BadParameter(f"{value!r} must be more than 0", context, option)

    return converted


class SettingsCommand(click.Command):
    """A command whose help lists the flags of settings in their groups."""

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        flags = [
            each for each in self.get_params(ctx) if isinstance(each, click.Option)
        ]
        rest = {each.name: each for each in flags}
        for title, group in GROUPS.items():
            members = [rest.pop(name) for name in group.model_fields if name in rest]
            _write_flags(title, members, ctx, formatter)

        _write_flags("Other options", [*rest.values()], ctx, formatter)


def _write_flags(
    title: str,
    flags: Iterable[click.Option],
    ctx: click.Context,
    formatter: click.HelpFormatter,
) -> None:
    rows = [row for flag in flags if (row := flag.get_help_record(ctx))]
    if rows:
        with formatter.section(title):
            formatter.write_dl(rows)


def settings_flags(
    settings: type[BaseModel], *, skip: Collection[str] = ()
) -> Callable[[Any], Any]:
    """Return a decorator that adds a flag for each field; an unset flag is `None`."""

    def decorate(command: Any) -> Any:
        for name, field in reversed(settings.model_fields.items()):
            if name not in skip:
                command = _flag(name, field)(command)

        return command

    return decorate


def _flag(name: str, field: FieldInfo) -> Callable[[Any], Any]:
    flag = f"--{name.replace('_', '-')}"
    kind = _kind(field.annotation)
    text = f"{field.description}{_default(field)} [{PREFIX}{name.upper()}]"

    if kind is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=text)

    if get_origin(kind) is Literal:
        choice = click.Choice(get_args(kind))
        return click.option(flag, name, type=choice, default=None, help=text)

    metavar = METAVARS.get(kind, "TEXT")
    if name.endswith("_ms"):
        metavar = "MS"
    elif name.endswith("_share"):
        metavar = "SHARE"
    elif any(getattr(each, "func", None) in (size, memory) for each in field.metadata):
        metavar = "SIZE"

    if kind is tuple:
        # Folders are given one by one, as is usual for paths; names in one list.
        metavar = "FOLDER" if _item(field.annotation) is Path else metavar
        return click.option(
            flag,
            name,
            multiple=True,
            callback=_unless_empty,
            help=text,
            metavar=metavar,
        )

    # Not checked here: the settings check values of any source alike.
    return click.option(flag, name, type=str, default=None, help=text, metavar=metavar)


def _unless_empty(_: Any, __: Any, given: tuple[str, ...]) -> tuple[str, ...] | None:
    return given or None


def _item(annotation: Any) -> Any:
    """Return X of `tuple[X, ...]`."""
    return _kind(get_args(annotation)[0])


def _kind(annotation: Any) -> Any:
    """Return X of `X | None` or `Annotated[X, ...]`."""
    origin = get_origin(annotation)
    if origin is Literal:
        return annotation

    if origin is tuple:
        return tuple

    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    return _kind(kinds[0]) if kinds else annotation


def _default(field: FieldInfo) -> str:
    if field.default in (None, (), "", PydanticUndefined):
        return ""

    return f" (default: {field.default})"
