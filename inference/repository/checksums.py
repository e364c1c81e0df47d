"""Verification of a version's files against the `SHA256SUMS` beside them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from inference.errors import InvalidModel
from inference.repository.digest import digest_file, digest_source
from inference.repository.layout import SUMS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from inference.repository.scan import ModelFiles

VERIFIED = "verified"
UNVERIFIED = "unverified"
MAX_BYTES = 16 * 1024 * 1024
_LINE = re.compile(r"(\\?)([0-9A-Fa-f]{64}) [ *](.+)")
_ESCAPED = re.compile(r"\\(.?)", re.DOTALL)
_ESCAPES = {"\\": "\\", "n": "\n", "r": "\r"}
_SHOWN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    """Each listed file → its SHA-256; paths start with the folder of the sums."""

    folder: Path
    listed: Mapping[Path, str]

    def name(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()


def verify(files: ModelFiles, known: Mapping[Path, str] | None = None) -> str:
    """Return `verified`, or `unverified` if the version has no sums.

    Each file of the version in the folder of the sums or below must be listed and
    match. `known` has the SHA-256 of files that were read already; by default the
    model's files are read now. Raises `InvalidModel`, `OSError`.
    """
    if files.sums is None:
        return UNVERIFIED

    sums = _read(files.sums)
    known = digest_source(files.path).files if known is None else known

    for file in _files(files, known, sums):
        _check(file, known.get(file), sums)

    return VERIFIED


def _files(files: ModelFiles, known: Mapping[Path, str], sums: _Sums) -> Iterator[Path]:
    """Yield the version's files, and the listed files of its own folder."""
    beside = (files.sidecar, files.warmup)
    own = {*known, *(path for path in beside if path is not None)}
    yield from sorted(path for path in own if path.is_relative_to(sums.folder))
    folder = _own_folder(files)
    architecture = files.path.with_suffix(".json")

    for path in sums.listed:
        mine = folder is not None and path.is_relative_to(folder)

        if path not in own and (mine or path == architecture):
            yield path


def _own_folder(files: ModelFiles) -> Path | None:
    """Return the version's folder; `None` for a bare file among others."""
    if files.path.is_dir():
        return files.path

    folder = files.path.parent
    names = (files.id.name, str(files.id.version))
    return folder if folder.name in names else None


def _check(file: Path, digest: str | None, sums: _Sums) -> None:
    name = sums.name(file)
    wanted = sums.listed.get(file)

    if wanted is None:
        raise InvalidModel(
            f"{SUMS} doesn't list {name}. List every file of the version, as sha256sum "
            f"writes it, or remove {SUMS}."
        )

    if digest is None and not file.is_file():
        raise InvalidModel(f"{SUMS} lists {name}, which isn't there. Copy it again.")

    found = digest or digest_file(file)

    if found != wanted:
        raise InvalidModel(
            f"{name} isn't what {SUMS} says: its SHA-256 begins with "
            f"{found[:_SHOWN]}, it should with {wanted[:_SHOWN]}. Copy it again."
        )


def _read(path: Path) -> _Sums:
    if path.stat().st_size > MAX_BYTES:
        raise InvalidModel(f"{SUMS} is larger than {MAX_BYTES} bytes.")

    listed: dict[Path, str] = {}

    # Names may have any other line break in them: sha256sum escapes just these.
    for number, line in enumerate(_lines(path), start=1):
        try:
            name, digest = _parse(line)
        except ValueError as exc:
            raise InvalidModel(f"{SUMS}, line {number}: {exc}.") from exc

        if listed.setdefault(path.parent / name, digest) != digest:
            raise InvalidModel(f"{SUMS}, line {number}: lists {name} again, otherwise.")

    return _Sums(folder=path.parent, listed=listed)


def _lines(path: Path) -> list[str]:
    text = path.read_bytes().decode("utf-8", errors="surrogateescape")
    return [line for line in text.replace("\r\n", "\n").split("\n") if line]


def _parse(line: str) -> tuple[str, str]:
    """Return a line's file name and digest. Raises `ValueError` with the reason."""
    found = _LINE.fullmatch(line)

    if found is None:
        raise ValueError("isn't a SHA-256, two spaces and a name, as sha256sum writes")

    escaped, digest, name = found.groups()
    name = _ESCAPED.sub(_unescape, name) if escaped else name
    place = PurePosixPath(name)

    if place.is_absolute() or ".." in place.parts:
        raise ValueError(f"'{name}' leads out of the folder of {SUMS}")

    return place.as_posix(), digest.lower()


def _unescape(match: re.Match[str]) -> str:
    try:
        return _ESCAPES[match[1]]
    except KeyError:
        raise ValueError(
            f"has an escape that sha256sum doesn't write: {match[0]}"
        ) from None
