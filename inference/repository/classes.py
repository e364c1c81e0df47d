"""The names of a model's classes: a text file beside it, a line for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference.errors import InvalidSidecar
from inference.repository.beside import path_beside

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from inference.repository.sidecar import Sidecar

MAX_BYTES = 4 * 2**20
_CURE = "Write a line for each class, in the order of the model's scores."


def read_classes(
    path: Path | None, sidecar: Sidecar, follow: Iterable[Path] = ()
) -> tuple[str, ...]:
    """Read the file that `classes` of the sidecar at `path` names; `()` without.

    Raise `InvalidSidecar`.
    """
    if path is None or sidecar.classes is None:
        return ()

    name = sidecar.classes
    found = path_beside(path, "classes", name, follow, max_bytes=MAX_BYTES, cure=_CURE)

    try:
        with found.open("rb") as file:
            # It may have grown since.
            text = file.read(MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise InvalidSidecar(
            f"'classes' names '{name}', which isn't text in UTF-8. Save it so."
        ) from exc
    except OSError as exc:
        raise InvalidSidecar(
            f"'classes' names '{name}', which can't be read: {exc.strerror}."
        ) from exc

    return _lines(text, name)


def _lines(text: str, name: str) -> tuple[str, ...]:
    # Not `splitlines`, which ends lines at form feeds and rarer characters too.
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    blank = [number for number, line in enumerate(lines, 1) if not line.strip()]

    if blank:
        raise InvalidSidecar(f"line {blank[0]} of '{name}' is empty. {_CURE}")

    return tuple(line.strip() for line in lines)
