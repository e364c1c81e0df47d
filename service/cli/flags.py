"""Command-line flags made from the settings, so that they can't drift apart."""

from __future__ import annotations

from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import click
from pydantic import ByteSize
from pydantic_core import PydanticUndefined

from service.settings.compiler import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

METAVARS = {
    int: "N",
    float: "SECONDS",
    str: "TEXT",
    Path: "PATH",
    ByteSize: "SIZE",
    tuple: "A,B",
}


def settings_flags(
    settings: type[BaseModel], *, skip: Collection[str] = ()
) -> Callable[[Any], Any]:
    """A decorator that gives a command one flag a field; not given means `None`.

    Nothing is checked here: the settings do that, whichever way a value came.
    """

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

    metavar = "MS" if name.endswith("_ms") else METAVARS.get(kind, "TEXT")

    if kind is tuple:
        # Folders are named one by one, as is usual for paths; names in one list.
        metavar = "FOLDER" if _item(field.annotation) is Path else metavar
        return click.option(
            flag,
            name,
            multiple=True,
            callback=_unless_empty,
            help=text,
            metavar=metavar,
        )

    return click.option(flag, name, type=str, default=None, help=text, metavar=metavar)


def _unless_empty(_: Any, __: Any, given: tuple[str, ...]) -> tuple[str, ...] | None:
    return given or None


def _item(annotation: Any) -> Any:
    """Of `tuple[X, ...]` the X."""
    return _kind(get_args(annotation)[0])


def _kind(annotation: Any) -> Any:
    """The type behind `X | None`, without what it is annotated with."""
    origin = get_origin(annotation)
    if origin is Literal:
        return annotation

    if origin is tuple:
        return tuple

    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    return _kind(kinds[0]) if kinds else annotation


def _default(field: FieldInfo) -> str:
    if field.default in (None, (), PydanticUndefined):
        return ""

    return f" (default: {field.default})"
