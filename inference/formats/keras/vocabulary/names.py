"""Names in Keras files, which become scopes, keys and paths."""

from __future__ import annotations

import re

MAX_LENGTH = 1000
_LONGEST_SHOWN = 200
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\ud800-\udfff]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_DRIVE = re.compile(r"[A-Za-z]:")


def unsafe_path(name: str) -> str | None:
    """Return why `name`, taken as a path, could leave its folder; `None` if it can't.

    A slash alone is fine: Keras 2 has it in the names of layers.
    """
    if not name or len(name) > MAX_LENGTH:
        return "has an empty name or a very long one"

    if _UNPRINTABLE.search(name):
        return "has unprintable characters in its name"

    if "\\" in name:
        return "has a backslash in its name"

    if name.startswith(("/", "~")) or _SCHEME.match(name) or _DRIVE.match(name):
        return "has an absolute path as its name"

    if {".", ".."} & set(name.split("/")):
        return "has '..' or '.' as a part of its name"

    return None


def shown(text: object) -> str:
    """Return a name from a file for an error message: short, and on one line."""
    return _UNPRINTABLE.sub("?", str(text)[:_LONGEST_SHOWN])
