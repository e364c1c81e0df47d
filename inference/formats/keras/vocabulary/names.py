"""Names in Keras files: they become scopes, keys and paths."""

from __future__ import annotations

import re

MAX_LENGTH = 1000
_LONGEST_SHOWN = 200
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\ud800-\udfff]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_DRIVE = re.compile(r"[A-Za-z]:")


def unsafe_path(name: str) -> str | None:
    """Why `name`, taken as a path, could leave the folder that it is put in.

    A slash alone is no reason: Keras 2 has it in the names of layers.
    """
    if not name or len(name) > MAX_LENGTH:
        return "has an empty name or an endless one"

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
    """A name from a file as it may stand in an error: short, and on one line."""
    return _UNPRINTABLE.sub("?", str(text)[:_LONGEST_SHOWN])
