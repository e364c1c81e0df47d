"""The operations that every model may use, as a readable list."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

LIST = "allowed_ops.txt"


@cache
def safe_operations() -> frozenset[str]:
    """Return the names in `allowed_ops.txt`; a `#` starts a comment."""
    text = files("inference.formats.screening").joinpath(LIST).read_text("utf-8")
    lines = (line.partition("#")[0] for line in text.splitlines())
    return frozenset(name for line in lines for name in line.split())
