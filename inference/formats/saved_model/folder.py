"""Checks of a SavedModel's folder, before any parser reads a file of it.

Needs neither TensorFlow nor Keras.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from inference.errors import InvalidModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

PB = "saved_model.pb"
OTHER_FORMS = {
    "saved_model.pbtxt": "a graph as text",
    # tensorflow/tools/proto_splitter: graphs of 2 GiB and more.
    "saved_model.cpb": "a graph in pieces",
}
MAX_ENTRIES = 100_000
MAX_LEVELS = 32


def check_folder(folder: Path, follow: Iterable[Path] = ()) -> None:
    """Raise `InvalidModel` for entries that mustn't be in a SavedModel's folder.

    These are other forms of the graph, links that lead out of the folder and not into
    one of `follow`, devices, pipes and sockets. Files that the graph doesn't name are
    allowed: nothing reads them.
    """
    inside = [os.path.realpath(each) for each in (folder, *follow)]

    try:
        _check_graph_file(folder)
        _check_all(folder, inside)
    except OSError as exc:
        where = os.path.relpath(exc.filename, folder) if exc.filename else "a file"
        raise InvalidModel(
            f"{folder.name}: {where} can't be examined ({exc.strerror}). Check its "
            "permissions, or copy the folder again."
        ) from exc


def _check_graph_file(folder: Path) -> None:
    names = {entry.name for entry in os.scandir(folder)}
    other = next((name for name in OTHER_FORMS if name in names), None)

    if PB not in names:
        raise InvalidModel(
            f"{folder.name} has no {PB}. A text SavedModel (saved_model.pbtxt), or one "
            "in pieces (saved_model.cpb), must be exported again with "
            "tf.saved_model.save, which writes the binary form."
        )

    if other:
        raise InvalidModel(
            f"{folder.name}/{other} is {OTHER_FORMS[other]}, which isn't read: it is "
            "unclear which of the two is the model. Remove it, or export the model "
            "again."
        )


def _check_all(folder: Path, inside: Sequence[str]) -> None:
    for count, entry in enumerate(_entries(folder, inside[0])):
        if count >= MAX_ENTRIES:
            raise InvalidModel(
                f"{folder.name} holds more than {MAX_ENTRIES:,} files, which no "
                "SavedModel does. Serve a folder with the model alone."
            )

        _check_entry(entry, folder, inside)


def _entries(folder: Path, real: str) -> Iterator[os.DirEntry[str]]:
    """Yield everything below `folder`, without following links back into it."""
    waiting = [(str(folder), 0)]

    while waiting:
        place, level = waiting.pop()

        with os.scandir(place) as entries:
            for entry in entries:
                yield entry

                # Links can form cycles.
                if level < MAX_LEVELS and entry.is_dir() and _is_new(entry, real):
                    waiting.append((entry.path, level + 1))


def _is_new(entry: os.DirEntry[str], real: str) -> bool:
    return not entry.is_symlink() or not _is_in(os.path.realpath(entry.path), [real])


def _check_entry(entry: os.DirEntry[str], folder: Path, inside: Sequence[str]) -> None:
    name = os.path.relpath(entry.path, folder)
    where = f"{folder.name}/{name}"

    if entry.is_symlink():
        _check_link(entry, where, inside)

    # `stat` follows links: the target is inside and exists.
    mode = entry.stat().st_mode

    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise InvalidModel(
            f"{where} is {_kind(mode)}, not a file; reading it could block or do harm. "
            "Remove it."
        )


def _check_link(entry: os.DirEntry[str], where: str, inside: Sequence[str]) -> None:
    target = os.path.realpath(entry.path)

    if not _is_in(target, inside):
        raise InvalidModel(
            f"{where} is a link that leads out of the model's folder. Put the file "
            "itself there, or name the folder that it leads into with "
            "--follow-links-to."
        )

    if not os.path.exists(target):
        raise InvalidModel(f"{where} is a link to nothing. Put the file itself there.")


def _is_in(path: str, folders: Sequence[str]) -> bool:
    return any(os.path.commonpath([path, folder]) == folder for folder in folders)


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "a special file")
