"""Errors of the settings, in words for users."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

# By pydantic's types of errors, whose own words are for programmers.
WORDS: Mapping[str, str] = {
    "missing": "not given",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "is too large a number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "string_type": "must be a text",
    "string_too_short": "must not be empty",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "path_type": "must be a path",
    "path_not_file": "there is no such file",
    "tuple_type": "must be a list, or A,B",
}


def describe_error(
    error: Any, *, prefix: str, known: Collection[str], file: str | None
) -> str:
    """Return a line for one of pydantic's errors.

    `prefix` is that of variables, `known` the names of all settings, `file` the one
    that the value comes from, if it comes from a file.
    """
    name = setting_of(error)
    if not name:
        return str(error["msg"]).removeprefix("Value error, ")

    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        place = f" in {file}" if file else ""
        return f"{name}{place}: there is no such setting{hint}"

    flag = "PATH" if name == "models" else f"--{name.replace('_', '-')}"
    place = file or f"{flag} or {prefix}{name.upper()}"
    said = reason(error)
    return f"{name} ({place}): {said}{_got(error, said)}"


def _got(error: Any, said: str) -> str:
    """Return what was given; not a file's path where a line of it is what is wrong."""
    given = error["input"]
    told = error["type"] == "missing" or f"{given}, line " in said
    return "" if told else f", got {given!r}"


def setting_of(error: Any) -> str:
    # In a list the index follows, which no user has written.
    return ".".join(part for part in error["loc"] if isinstance(part, str))


def reason(error: Any) -> str:
    """Return what is wrong with a value."""
    words = WORDS.get(error["type"])
    if words is None:
        return str(error["msg"]).removeprefix("Value error, ")

    return words.format(**error.get("ctx", {}))
