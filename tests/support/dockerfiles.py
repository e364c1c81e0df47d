"""A Dockerfile's stages and instructions, without building it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_COMMENT = re.compile(r"^\s*#.*\n", re.MULTILINE)
_CONTINUED = re.compile(r"\\\n\s*")
_EXEC_FORM = re.compile(r"\[.*\]$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its keyword in capitals, and the rest of the line."""

    word: str
    rest: str

    def command(self) -> list[str]:
        """Return the list of its exec form; `AssertionError` if it is in shell form."""
        found = _EXEC_FORM.search(self.rest)
        assert found, f"{self.word} {self.rest} is not in exec form"
        words: list[str] = json.loads(found.group())
        return words


Stage = tuple[Instruction, ...]


def read_stages(path: Path) -> list[Stage]:
    """Return the stages, each from its FROM on, without what is before the first."""
    stages: list[list[Instruction]] = []

    for instruction in _instructions(path.read_text()):
        if instruction.word == "FROM":
            stages.append([])

        if stages:
            stages[-1].append(instruction)

    return [tuple(stage) for stage in stages]


def every(stage: Stage, word: str) -> list[Instruction]:
    return [instruction for instruction in stage if instruction.word == word]


def only(stage: Stage, word: str) -> Instruction:
    """Return the stage's one `word`; `ValueError` if there isn't exactly one."""
    (found,) = every(stage, word)
    return found


def environment(stage: Stage) -> dict[str, str]:
    """Return the stage's ENV lines of the form `NAME=value`."""
    pairs = [pair for each in every(stage, "ENV") for pair in each.rest.split()]
    return dict(pair.split("=", 1) for pair in pairs)


def arguments(path: Path) -> set[str]:
    """Return the names that `--build-arg` may give values."""
    found = _instructions(path.read_text())
    return {each.rest.partition("=")[0] for each in found if each.word == "ARG"}


def _instructions(text: str) -> Iterator[Instruction]:
    for line in _CONTINUED.sub("", _COMMENT.sub("", text)).splitlines():
        if line.strip():
            word, rest = line.split(maxsplit=1)
            yield Instruction(word.upper(), rest.strip())
