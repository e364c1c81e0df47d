"""The models by name: their versions, their labels, and which one answers."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from inference.errors import ModelNotFound, VersionNotFound
from inference.repository.layout import loose_name
from inference.repository.policy import wanted
from inference.types import ModelState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence, Set

    from inference.lifecycle.model import Model
    from inference.repository.policy import Declaration
    from inference.repository.snapshot import FoundVersion
    from inference.types import ModelSpec, ModelStatus

_MOST_SAID = 3
_LONGEST_SAID = 500


@dataclass(slots=True, kw_only=True, eq=False)
class Entry:
    """One model. `found` has the versions on disk, `declaration` says which are served.

    `proposed` is what the sidecar says now: it holds once it is adopted, and until then
    the versions of both are served. Labels that were `ordered` at run time go before
    declared ones (`None` takes one away). `labels` are those that requests are served
    by: a label moves only once its new version answers. `held` versions are served
    whatever the policy says, as labels are about to be moved to them. `passed_over`
    says what of it in the repository isn't found as a version.
    """

    name: str
    declaration: Declaration
    proposed: Declaration | None = None
    versions: dict[int, Model] = field(default_factory=dict)
    found: Mapping[int, FoundVersion] = field(default_factory=dict)
    missing: Set[int] = frozenset()
    ordered_pin: bool | None = None
    ordered: Mapping[str, int | None] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    held: Set[int] = frozenset()
    passed_over: Sequence[str] = ()

    def find(
        self, versions: Mapping[int, FoundVersion], *, keep: bool, grace: bool
    ) -> None:
        """Take down what is on disk now.

        What was there before is taken for gone when it is missing for the second time,
        or at once without `grace`: a folder may be replaced between two looks. `keep`
        says that what is missing may be there.
        """
        missing = self.found.keys() - versions.keys()
        kept = missing if keep else missing - self.missing if grace else set()
        self.missing = missing
        self.found = {**{each: self.found[each] for each in kept}, **versions}

    def adopt(self) -> None:
        """What is proposed holds from now on."""
        self.declaration, self.proposed = self.proposed or self.declaration, None
        self.apply_pins()

    def wanted_labels(self, declaration: Declaration | None = None) -> dict[str, int]:
        both = {**(declaration or self.declaration).labels, **self.ordered}
        return {label: number for label, number in both.items() if number is not None}

    def wanted(self) -> list[int]:
        """The versions that are to be served, of those on disk."""
        return sorted(
            {
                number
                for each in (self.declaration, self.proposed or self.declaration)
                for number in self._wanted_by(each)
            }
        )

    def apply_pins(self) -> None:
        """Pin versions: by what was said of the version, of the model, on disk."""
        for model in self.versions.values():
            orders = (model.ordered_pin, self.ordered_pin, self.declaration.pinned)
            model.pinned = next(order for order in orders if order is not None)

    def move_labels(self) -> None:
        """Let labels follow what is wanted, where the version answers by now."""
        wanted = self.wanted_labels()
        self.labels = {
            label: number
            if label not in self.labels or self._answers(number)
            else self.labels[label]
            for label, number in wanted.items()
        }

    def obsolete(self) -> list[int]:
        """Versions to unload: their files are gone, or what replaces them answers."""
        needed = {*self.wanted(), *self.labels.values()}
        replaced = self._replaced()
        return [
            number
            for number in self.versions
            if number not in self.found or (replaced and number not in needed)
        ]

    def statuses(self) -> list[ModelStatus]:
        return [self.status(number) for number in sorted(self.versions)]

    def status(self, number: int) -> ModelStatus:
        labels = sorted(label for label, of in self.labels.items() if of == number)
        return self.versions[number].status(tuple(labels))

    def pick(self, spec: ModelSpec) -> int:
        """The version that answers `spec`. Raises `VersionNotFound`."""
        if spec.label is not None:
            return self._labelled(spec.label)

        if spec.version is None:
            return self._newest()

        if spec.version not in self.versions:
            raise VersionNotFound(
                f"Model '{self.name}' has no version {spec.version}; served: "
                f"{_listed(map(str, sorted(self.versions)))}."
                f"{_said(self.passed_over)}"
            )

        return spec.version

    def _wanted_by(self, declaration: Declaration) -> list[int]:
        labelled = {*self.wanted_labels(declaration).values(), *self.held}
        return wanted(self.found, declaration.table, labelled)

    def _newest(self) -> int:
        # Nearly all models have one, and each of their requests comes here.
        if len(self.versions) == 1:
            return next(iter(self.versions))

        if not self.versions:
            raise VersionNotFound(
                f"No version of model '{self.name}' is served: [versions] in its "
                "sidecar asks for none of those in the repository."
            )

        answering = [number for number in self.versions if self._answers(number)]
        return max(answering or self.versions)

    def _labelled(self, label: str) -> int:
        number = self.labels.get(label)

        if number is None:
            raise VersionNotFound(
                f"Model '{self.name}' has no label '{label}'; its labels are: "
                f"{_listed(sorted(self.labels))}."
            )

        if number not in self.versions:
            raise VersionNotFound(
                f"Label '{label}' of model '{self.name}' stands for version {number}, "
                "which isn't in the repository."
            )

        return number

    def _answers(self, number: int) -> bool:
        model = self.versions.get(number)
        return model is not None and model.state is ModelState.AVAILABLE

    def _replaced(self) -> bool:
        """Whether what is wanted is there: then the rest may go.

        What only labels ask for replaces nothing that the policy asked for.
        """
        numbers = wanted(self.found, self.declaration.table, ()) or self.wanted()
        models = [self.versions[each] for each in numbers if each in self.versions]
        settled = all(model.settled for model in models)
        return settled and any(self._answers(model.id.version) for model in models)


class Catalog:
    """All entries that have a version."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._passed_over: dict[str, list[str]] = {}

    def entries(self) -> list[Entry]:
        """Sorted by name."""
        return [entry for _, entry in sorted(self._entries.items())]

    def models(self) -> list[Model]:
        return [
            model
            for entry in self.entries()
            for _, model in sorted(entry.versions.items())
        ]

    def entry(self, name: str) -> Entry:
        """Raises `ModelNotFound`."""
        if name not in self._entries:
            raise ModelNotFound(self._not_found(name))

        return self._entries[name]

    def note(self, passed_over: Mapping[str, Sequence[str]]) -> None:
        """Remember for clients what isn't served, by the names that it would have."""
        self._passed_over = {}

        for name, problems in passed_over.items():
            self._passed_over.setdefault(loose_name(name), []).extend(problems)

        for entry in self._entries.values():
            entry.passed_over = passed_over.get(entry.name, ())

    def get(self, name: str) -> Entry | None:
        return self._entries.get(name)

    def add(self, entry: Entry) -> None:
        self._entries[entry.name] = entry
        entry.passed_over = self._passed_over.get(loose_name(entry.name), ())

    def remove(self, entry: Entry) -> None:
        self._entries.pop(entry.name, None)

    def find(self, spec: ModelSpec) -> Model:
        """The version that answers. Raises `ModelNotFound`, `VersionNotFound`."""
        entry = self.entry(spec.name)
        return entry.versions[entry.pick(spec)]

    def select(self, spec: ModelSpec) -> list[Model]:
        """One version, or all of a model's if `spec` names none.

        Raises `ModelNotFound`, `VersionNotFound`.
        """
        if spec.version is None and spec.label is None:
            entry = self.entry(spec.name)
            return [model for _, model in sorted(entry.versions.items())]

        return [self.find(spec)]

    def pin(self, spec: ModelSpec, pinned: bool) -> None:
        """Whether versions may be evicted: one, or all of a model's.

        Raises `ModelNotFound`, `VersionNotFound`.
        """
        entry = self.entry(spec.name)

        for model in self.select(spec):
            model.ordered_pin = pinned

        if spec.version is None and spec.label is None:
            entry.ordered_pin = pinned

        entry.apply_pins()

    def _not_found(self, name: str) -> str:
        loose = loose_name(name)
        names = sorted(self._entries)
        near = [each for each in names if loose_name(each) == loose]
        then = f"did you mean '{near[0]}'? The" if near else "the"
        return (
            f"There is no model '{name}'; {then} models are: {_listed(names)}."
            f"{_said(self._passed_over.get(loose, ()))}"
        )


def _said(problems: Iterable[str]) -> str:
    """For clients: some of what is passed over, none at length."""
    some = islice(dict.fromkeys(problems), _MOST_SAID)
    said = " ".join(textwrap.shorten(problem, _LONGEST_SAID) for problem in some)
    return f" Passed over: {said}" if said else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
