"""SavedModel folders with entries that no export writes.

Refused without TensorFlow, except those in `PARSED`.
"""

from __future__ import annotations

import os
import socket
from contextlib import chdir
from typing import TYPE_CHECKING

from tests.crafted.case import Crafted
from tests.crafted.saved_files import PB, beside

if TYPE_CHECKING:
    from pathlib import Path


def as_text(path: Path, canary: Path) -> None:
    (path / PB).rename(path / "saved_model.pbtxt")


def text_beside(path: Path, canary: Path) -> None:
    (path / "saved_model.pbtxt").write_text("meta_graphs {}")


def linked_graph(path: Path, canary: Path) -> None:
    (path / PB).rename(path.parent / "elsewhere.pb")
    (path / PB).symlink_to(path.parent / "elsewhere.pb")


def linked_weights(path: Path, canary: Path) -> None:
    (path / "variables").rename(path.parent / "theirs")
    (path / "variables").symlink_to("../theirs")


def linked_asset(path: Path, canary: Path) -> None:
    (path / "assets").mkdir()
    (path / "assets" / "words.txt").symlink_to("/etc/passwd")


def hidden_link(path: Path, canary: Path) -> None:
    (path / ".cache").mkdir()
    (path / ".cache" / "words").symlink_to("/etc")


def dangling_link(path: Path, canary: Path) -> None:
    (path / "model.toml").symlink_to("gone.toml")


def looping_link(path: Path, canary: Path) -> None:
    (path / "model.toml").symlink_to("model.toml")


def pipe(path: Path, canary: Path) -> None:
    os.mkfifo(path / "variables" / "variables.data-00001-of-00002")


def pipe_as_graph(path: Path, canary: Path) -> None:
    (path / PB).unlink()
    os.mkfifo(path / PB)


def open_socket(path: Path, canary: Path) -> None:
    (path / "assets").mkdir()

    # The path of a socket may have 100 bytes.
    with chdir(path / "assets"), socket.socket(socket.AF_UNIX) as listening:
        listening.bind("words.txt")


def chunks(path: Path, canary: Path) -> None:
    (path / "saved_model.cpb").write_bytes(b"")


def cut_graph(path: Path, canary: Path) -> None:
    content = (path / PB).read_bytes()
    (path / PB).write_bytes(content[: len(content) // 2])


def empty_graph(path: Path, canary: Path) -> None:
    (path / PB).write_bytes(b"")


def oversized_graph(path: Path, canary: Path) -> None:
    os.truncate(path / PB, 2**31)


def cut_weights(path: Path, canary: Path) -> None:
    """Declare more in the index than there is."""
    os.truncate(next((path / "variables").glob("*.data-*")), 4)


BEFORE_PARSING = {
    "as_text": (as_text, "text SavedModel"),
    "text_beside": (text_beside, "saved_model.pbtxt is a graph as text"),
    "linked_graph": (linked_graph, "saved_model.pb is a link that leads out"),
    "linked_weights": (linked_weights, "variables is a link that leads out"),
    "linked_asset": (linked_asset, "assets/words.txt is a link that leads out"),
    "hidden_link": (hidden_link, r"\.cache/words is a link that leads out"),
    "dangling_link": (dangling_link, "model.toml is a link to nothing"),
    "looping_link": (looping_link, "model.toml is a link to nothing"),
    "pipe": (pipe, "variables/variables.data-00001-of-00002 is a pipe"),
    "pipe_as_graph": (pipe_as_graph, "saved_model.pb is a pipe"),
    "socket": (open_socket, "assets/words.txt is a socket"),
    "chunks": (chunks, "saved_model.cpb is a graph in pieces"),
}
PARSED = {
    "cut_graph": (cut_graph, "saved_model.pb can't be parsed"),
    "empty_graph": (empty_graph, "saved_model.pb has no graph"),
    "oversized_graph": (oversized_graph, "no graph file can have 2 GiB"),
    "cut_weights": (cut_weights, "declares variables of 8 bytes.* has 4 bytes"),
}

CASES: list[Crafted] = [
    Crafted(name=f"saved_folder_{name}", make=beside(change), reason=reason)
    for name, (change, reason) in {**BEFORE_PARSING, **PARSED}.items()
]
