"""One look at a repository: its models, and entries that are passed over."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from inference.errors import printable
from inference.repository.layout import NAME
from inference.repository.traversal import BadEntry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inference.repository.scan import ModelEntry


@dataclass(slots=True, kw_only=True)
class Scan:
    """The contents of a repository. `problems` says what is passed over, and why.

    The entries of `doubtful` names have a problem now: that such a model or a version
    of it isn't found doesn't mean that it was taken away. `passed_over` has problems by
    the names that models of the entries would have. `one_model` says that it is one
    model's folder of versions.
    """

    entries: list[ModelEntry] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    doubtful: set[str] = field(default_factory=set)
    passed_over: dict[str, list[str]] = field(default_factory=dict)
    one_model: bool = False
    _taken: dict[str, ModelEntry] = field(default_factory=dict, repr=False)

    def add(self, entry: ModelEntry, place: str) -> None:
        """Take up a model, unless its name can't be one or is taken."""
        taken = self._taken.get(entry.name)

        if not NAME.fullmatch(entry.name):
            self.report(
                f"{place}: '{entry.name}' can't be a model's name; rename it to "
                "letters, digits, '.', '_' and '-', beginning with a letter or digit, "
                "128 at most.",
                {entry.name},
            )
        elif taken is not None:
            self.report(
                f"{place}: the model '{entry.name}' is served from {taken.place} "
                "already; rename one of them.",
                {entry.name},
            )
        else:
            self._taken[entry.name] = entry
            self.entries.append(entry)

    @contextmanager
    def blaming(self, place: str, names: set[str]) -> Iterator[None]:
        """Note what is wrong in `place` and go on; `names` are in doubt then."""
        try:
            yield
        except BadEntry as exc:
            self.doubt(f"{place}: {exc}", names)
        except OSError as exc:
            self.doubt(f"{place}: it can't be read: {exc.strerror}.", names)

    def doubt(self, problem: str, names: set[str]) -> None:
        self.report(problem, names)
        self.doubtful |= names

    def report(self, problem: str, names: set[str]) -> None:
        """Note a problem of what would be models of these names."""
        # Files may have any bytes for names, which end up in logs and documents.
        text = printable(problem)
        self.problems.append(text)

        for name in names:
            self.passed_over.setdefault(name, []).append(text)
