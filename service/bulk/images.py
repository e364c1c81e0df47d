"""Image files as rows of a run: one, those of a folder, or those of a pattern."""

from __future__ import annotations

import base64
import glob
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from inference import UNNAMED
from service.codecs.json.values import BASE64_KEY
from service.jobs.rows import BadRows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"})

MAX_CHUNK = 32
"""Most images in a call: decoded, each is larger than its file."""


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Rows that are image files, as `service.bulk.sources.Source` has rows."""

    files: tuple[Path, ...]

    @property
    def total(self) -> int:
        return len(self.files)

    def chunks(self, skip: int, length: Callable[[], int]) -> Iterator[Sequence[Path]]:
        while skip < len(self.files):
            chunk = self.files[skip : skip + min(length(), MAX_CHUNK)]
            yield chunk
            skip += len(chunk)

    def inputs(self, rows: Sequence[Path]) -> Mapping[str, Any]:
        """Read files. Raise `BadRows` for one that can't be read."""
        return {UNNAMED: list(map(_content, rows))}

    def lines(self) -> Iterator[bytes]:
        """Yield a line of JSON for each image. Raise as `inputs` does."""
        for file in self.files:
            text = base64.b64encode(_content(file)).decode()
            yield orjson.dumps({BASE64_KEY: text}, option=orjson.OPT_APPEND_NEWLINE)

    def state(self) -> object:
        """Return what changes when the files do: paths, sizes and times."""
        stats = [(file.resolve(), file.stat()) for file in self.files]
        return [(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats]


def find_images(text: str) -> ImageFiles | None:
    """Return the image files that `text` names, in the order of their paths.

    `None` if it names none: it is no folder, pattern or file with an image's suffix.
    """
    path = Path(text)

    if path.is_dir():
        found: Sequence[Path] = sorted(path.iterdir())
    elif path.exists():
        found = [path]
    else:
        found = sorted(map(Path, glob.glob(text, recursive=True)))

    files = [each for each in found if is_image(each)]
    return ImageFiles(tuple(files)) if files else None


def is_image(path: Path) -> bool:
    """Return whether a file is named as images are."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise BadRows(f"can't read {path}: {exc.strerror}") from None
